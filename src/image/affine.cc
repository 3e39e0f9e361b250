#include "image/affine.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "image/affine_rows.h"

namespace spatialmamba::image {
namespace {

PaddedPixels pad(const Image& picture) {
  constexpr auto kMargin = PaddedPixels::kMargin;
  PaddedPixels padded;
  padded.width = picture.width;
  padded.height = picture.height;
  padded.channels = picture.channels;
  const auto row_bytes = kPixelSlots * static_cast<std::size_t>(picture.width + 2 * kMargin);
  padded.row_bytes = static_cast<std::ptrdiff_t>(row_bytes);
  padded.bytes.resize(row_bytes * static_cast<std::size_t>(picture.height + 2 * kMargin));
  for (int y = -kMargin; y < picture.height + kMargin; ++y) {
    std::uint8_t* row = padded.bytes.data() + padded.row_bytes * (y + kMargin);
    const std::uint8_t* from = picture.row(std::clamp(y, 0, picture.height - 1));
    widen_pixels(static_cast<std::size_t>(picture.channels), from, picture.width, row + kPixelSlots * kMargin,
                 kPixelSlots);
    std::uint8_t* last = row + kPixelSlots * static_cast<std::size_t>(picture.width + kMargin - 1);
    for (std::size_t k = 1; k <= kMargin; ++k) {
      std::memcpy(row + kPixelSlots * (kMargin - k), row + kPixelSlots * kMargin, kPixelSlots);
      std::memcpy(last + kPixelSlots * k, last, kPixelSlots);
    }
  }
  return padded;
}

/// Rounded to 15 decimals as Python's round() does it: the decimal nearest to the exact value.
double round_to_15_decimals(double value) {
  const std::string text = fmt::format("{:.15f}", value);
  double rounded = 0.0;
  std::from_chars(text.data(), text.data() + text.size(), rounded);
  return rounded;
}

}  // namespace

Affine rotation(double degrees, int width, int height) {
  constexpr double kFullTurn = 360.0;
  degrees = std::fmod(degrees, kFullTurn);
  if (degrees < 0.0) degrees += kFullTurn;
  const double angle = -(degrees * (std::numbers::pi / 180.0));
  const double cosine = round_to_15_decimals(std::cos(angle));
  const double sine = round_to_15_decimals(std::sin(angle));
  const double x = width / 2.0;
  const double y = height / 2.0;
  Affine affine{
      .xx = cosine, .xy = sine, .x0 = 0.0, .yx = round_to_15_decimals(-std::sin(angle)), .yy = cosine};
  affine.x0 = affine.xx * -x + affine.xy * -y + 0.0 + x;
  affine.y0 = affine.yx * -x + affine.yy * -y + 0.0 + y;
  return affine;
}

Image transform(const Image& picture, const Affine& affine, Filter filter,
                const std::array<std::uint8_t, 3>& fill) {
  if (filter != Filter::bilinear && filter != Filter::bicubic) {
    fail("a picture is moved with bilinear or bicubic interpolation, not {}", name_of(filter));
  }
  const PaddedPixels padded = pad(picture);
  Image out(picture.width, picture.height, picture.channels);
  const auto channels = static_cast<std::size_t>(picture.channels);
  std::vector<std::uint8_t> background(out.row_bytes());
  for (std::size_t i = 0; i < background.size(); ++i) background[i] = fill[i % channels];
  std::vector<std::uint8_t> row(kPixelSlots * static_cast<std::size_t>(picture.width));
  for (int y = 0; y < picture.height; ++y) {
    std::ranges::copy(background, out.row(y));
    const Columns inside = transform_row(padded, affine, filter, y, row.data());
    const auto begin = static_cast<std::size_t>(inside.begin);
    narrow_pixels(channels, row.data() + kPixelSlots * begin, kPixelSlots, inside.end - inside.begin,
                  out.row(y) + channels * begin);
  }
  return out;
}

}  // namespace spatialmamba::image
