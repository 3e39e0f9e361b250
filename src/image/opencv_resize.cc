#include "image/opencv_resize.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/error.h"

namespace spatialmamba::image {
namespace {

constexpr int kCoefficientOne = 1 << 11;  // OpenCV's fixed point

/// The two neighbours of each output position along one axis, and their weights.
struct LinearTaps {
  std::vector<int> first;
  std::vector<int> second;
  std::vector<int> first_weight;
  std::vector<int> second_weight;
};

int to_fixed(float weight) {
  return static_cast<int>(std::lrint(weight * static_cast<float>(kCoefficientOne)));
}

double step_of(int in, int out) {
  return 1.0 / (static_cast<double>(out) / in);  // as OpenCV computes it
}

/// Beyond the border both neighbours are the same: along a row OpenCV gives one of them all the weight, along
/// a column it leaves both theirs, which truncates twice.
enum class Border { one_neighbour, both_neighbours };

LinearTaps linear_taps(int in, int out, Border border) {
  LinearTaps taps;
  const double step = step_of(in, out);
  for (int i = 0; i < out; ++i) {
    auto position = static_cast<float>((i + 0.5) * step - 0.5);
    const int floor = static_cast<int>(std::floor(position));
    position -= static_cast<float>(floor);
    const bool outside = floor < 0 || floor >= in - 1;
    if (outside && border == Border::one_neighbour) position = 0.0F;
    taps.first.push_back(std::clamp(floor, 0, in - 1));
    taps.second.push_back(std::clamp(floor + 1, 0, in - 1));
    taps.first_weight.push_back(to_fixed(1.0F - position));
    taps.second_weight.push_back(to_fixed(position));
  }
  return taps;
}

void require_size(int width, int height) {
  if (width < 1 || height < 1) fail("cannot resize a picture to {} x {} pixels", width, height);
}

/// OpenCV turns an exact halving of both sides into the mean of 2 x 2 pixels.
Image halved(const Image& picture) {
  Image out(picture.width / 2, picture.height / 2, picture.channels);
  const int channels = picture.channels;
  for (int y = 0; y < out.height; ++y) {
    const std::uint8_t* upper = picture.row(2 * y);
    const std::uint8_t* lower = picture.row(2 * y + 1);
    std::uint8_t* to = out.row(y);
    for (int x = 0; x < out.width; ++x) {
      for (int c = 0; c < channels; ++c) {
        const int at = 2 * x * channels + c;
        const int sum = upper[at] + upper[at + channels] + lower[at] + lower[at + channels];
        to[x * channels + c] = static_cast<std::uint8_t>((sum + 2) >> 2);
      }
    }
  }
  return out;
}

/// One row of the picture at the new width, in fixed point.
void resize_row(const Image& picture, int y, const LinearTaps& taps, std::vector<int>& out) {
  const std::uint8_t* row = picture.row(y);
  const int channels = picture.channels;
  for (std::size_t x = 0; x < taps.first.size(); ++x) {
    for (int c = 0; c < channels; ++c) {
      out[x * static_cast<std::size_t>(channels) + static_cast<std::size_t>(c)] =
          row[taps.first[x] * channels + c] * taps.first_weight[x] +
          row[taps.second[x] * channels + c] * taps.second_weight[x];
    }
  }
}

}  // namespace

Image resize_bilinear_opencv(const Image& picture, int width, int height) {
  require_size(width, height);
  if (width == picture.width && height == picture.height) return picture;
  if (2 * width == picture.width && 2 * height == picture.height) return halved(picture);
  const LinearTaps columns = linear_taps(picture.width, width, Border::one_neighbour);
  const LinearTaps rows = linear_taps(picture.height, height, Border::both_neighbours);
  Image out(width, height, picture.channels);
  // The two rows that output rows lie between, kept from one to the next.
  std::vector<int> upper(out.row_bytes());
  std::vector<int> lower(out.row_bytes());
  int upper_row = -1;
  int lower_row = -1;
  for (int y = 0; y < height; ++y) {
    const auto at = static_cast<std::size_t>(y);
    if (rows.first[at] != upper_row) {
      if (rows.first[at] == lower_row) {
        std::swap(upper, lower);
        lower_row = -1;
      } else {
        resize_row(picture, rows.first[at], columns, upper);
      }
      upper_row = rows.first[at];
    }
    if (rows.second[at] != lower_row) {
      resize_row(picture, rows.second[at], columns, lower);
      lower_row = rows.second[at];
    }
    std::uint8_t* to = out.row(y);
    for (std::size_t i = 0; i < upper.size(); ++i) {
      const int above = (rows.first_weight[at] * (upper[i] >> 4)) >> 16;
      const int below = (rows.second_weight[at] * (lower[i] >> 4)) >> 16;
      to[i] = static_cast<std::uint8_t>((above + below + 2) >> 2);
    }
  }
  return out;
}

Image resize_nearest_opencv(const Image& picture, int width, int height) {
  require_size(width, height);
  if (width == picture.width && height == picture.height) return picture;
  const double step_x = step_of(picture.width, width);
  const double step_y = step_of(picture.height, height);
  Image out(width, height, picture.channels);
  for (int y = 0; y < height; ++y) {
    const std::uint8_t* row =
        picture.row(std::min(static_cast<int>(std::floor(y * step_y)), picture.height - 1));
    std::uint8_t* to = out.row(y);
    for (int x = 0; x < width; ++x) {
      const int from = std::min(static_cast<int>(std::floor(x * step_x)), picture.width - 1);
      for (int c = 0; c < picture.channels; ++c) *to++ = row[from * picture.channels + c];
    }
  }
  return out;
}

PixelSize fitted_size(int width, int height, int long_side, int short_side) {
  const double by_long = static_cast<double>(std::max(long_side, short_side)) / std::max(width, height);
  const double by_short = static_cast<double>(std::min(long_side, short_side)) / std::min(width, height);
  const double scale = std::min(by_long, by_short);
  return {std::max(1, static_cast<int>(width * scale + 0.5)),
          std::max(1, static_cast<int>(height * scale + 0.5))};
}

}  // namespace spatialmamba::image
