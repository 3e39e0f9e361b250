#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#include "image/image.h"

namespace spatialmamba::draw {

/// Larger pictures are drawn smaller: label maps and masks have every pixel.
inline constexpr int kLargestShown = 2000;

/// What a picture's pixels are multiplied by on a sheet; `smallest`: smaller ones are enlarged.
inline double zoom_of(const image::Image& picture, int smallest) {
  const int longest = std::max(picture.width, picture.height);
  if (longest < smallest) return static_cast<double>((smallest + longest - 1) / longest);
  return std::min(1.0, static_cast<double>(kLargestShown) / longest);
}

/// How many pixels along a side of a huge picture may become one before it is drawn that much smaller anyway,
/// so that nothing as large as the picture is made on the way.
inline int step_of(const image::Image& picture) {
  return std::max(1, std::max(picture.width, picture.height) / kLargestShown);
}

/// The means of `step` x `step` colours; color_at(x, y) is an array of red, green, blue.
template <typename ColorAt>
image::Image averaged(int width, int height, int step, const ColorAt& color_at) {
  image::Image result((width + step - 1) / step, (height + step - 1) / step, 3);
  std::vector<std::uint32_t> sums(result.row_bytes());
  for (int y = 0; y < result.height; ++y) {
    std::ranges::fill(sums, 0U);
    const int end = std::min((y + 1) * step, height);
    for (int from = y * step; from < end; ++from) {
      for (int x = 0; x < width; ++x) {
        const auto color = color_at(x, from);
        std::uint32_t* sum = sums.data() + 3 * static_cast<std::ptrdiff_t>(x / step);
        for (std::size_t c = 0; c < 3; ++c) sum[c] += color[c];
      }
    }
    for (int x = 0; x < result.width; ++x) {
      const int wide = std::min((x + 1) * step, width) - x * step;
      const auto count = static_cast<std::uint32_t>(wide * (end - y * step));
      for (int i = 3 * x; i < 3 * x + 3; ++i) {
        result.row(y)[i] = static_cast<std::uint8_t>((sums[static_cast<std::size_t>(i)] + count / 2) / count);
      }
    }
  }
  return result;
}

/// Of a grey or colour picture.
inline std::array<std::uint8_t, 3> color_at(const image::Image& picture, int x, int y) {
  const std::uint8_t* pixel = picture.row(y) + static_cast<std::ptrdiff_t>(x) * picture.channels;
  if (picture.channels == 1) return {pixel[0], pixel[0], pixel[0]};
  return {pixel[0], pixel[1], pixel[2]};
}

}  // namespace spatialmamba::draw
