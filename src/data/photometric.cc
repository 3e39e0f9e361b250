#include "data/photometric.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace spatialmamba::data {
namespace {

constexpr double kBrightness = 32.0;
constexpr double kLowFactor = 0.5;
constexpr double kHighFactor = 1.5;
constexpr std::int64_t kHueSteps = 180;
constexpr std::int64_t kHueReach = 18;
/// OpenCV converts so many pixels at once, and rounds down there; to nearest in what a row has left.
constexpr int kVectorPixels = 32;
constexpr int kHsvShift = 12;  // OpenCV's fixed point for the division by value and by range

std::uint8_t truncated(float value) {
  return static_cast<std::uint8_t>(std::clamp(value, 0.0F, 255.0F));
}

/// numerator / i in fixed point for every divisor that occurs; 0 for 0.
std::array<int, 256> reciprocals(double numerator) {
  std::array<int, 256> table{};
  for (int i = 1; i < 256; ++i) {
    table[static_cast<std::size_t>(i)] = static_cast<int>(std::lrint(numerator * (1 << kHsvShift) / i));
  }
  return table;
}

int divided(int numerator, int divisor, const std::array<int, 256>& table) {
  return (numerator * table[static_cast<std::size_t>(divisor)] + (1 << (kHsvShift - 1))) >> kHsvShift;
}

void hsv_of(const std::uint8_t* rgb, std::uint8_t* hsv) {
  static const std::array<int, 256> kSaturation = reciprocals(255.0);
  static const std::array<int, 256> kHue = reciprocals(static_cast<double>(kHueSteps) / 6.0);
  const int r = rgb[0];
  const int g = rgb[1];
  const int b = rgb[2];
  const int value = std::max({r, g, b});
  const int range = value - std::min({r, g, b});
  int hue = 0;
  if (value == r) {
    hue = g - b;
  } else if (value == g) {
    hue = b - r + 2 * range;
  } else {
    hue = r - g + 4 * range;
  }
  hue = divided(hue, range, kHue);
  if (hue < 0) hue += static_cast<int>(kHueSteps);
  hsv[0] = static_cast<std::uint8_t>(hue);
  hsv[1] = static_cast<std::uint8_t>(divided(range, value, kSaturation));
  hsv[2] = static_cast<std::uint8_t>(value);
}

/// How a value from 0 to 1 becomes 8 bits.
enum class Rounding { nearest, down };

void rgb_of(const std::uint8_t* hsv, std::uint8_t* rgb, Rounding rounding) {
  /// Which of the four levels blue, green and red have in each sixth of the circle.
  static constexpr std::array<std::array<std::size_t, 3>, 6> kSectors = {
      {{1, 3, 0}, {1, 0, 2}, {3, 0, 1}, {0, 2, 1}, {0, 1, 3}, {2, 1, 0}}};
  const float h = static_cast<float>(hsv[0]) * (6.0F / static_cast<float>(kHueSteps));
  const float s = static_cast<float>(hsv[1]) * (1.0F / 255.0F);
  const float v = static_cast<float>(hsv[2]) * (1.0F / 255.0F);
  const float sector = std::floor(h);
  const float f = h - sector;
  // 1 - s x with one rounding, as the processor's fused operation does it.
  const auto rest = [s](float x) {
    return static_cast<float>(1.0 - static_cast<double>(s) * static_cast<double>(x));
  };
  const std::array<float, 4> levels = {v, v * (1.0F - s), v * rest(f), v * rest(1.0F - f)};
  const auto& chosen = kSectors[static_cast<std::size_t>(sector) % kSectors.size()];
  for (std::size_t c = 0; c < 3; ++c) {
    const float level = levels[chosen[2 - c]] * 255.0F;
    rgb[c] = rounding == Rounding::down ? static_cast<std::uint8_t>(level)
                                        : static_cast<std::uint8_t>(std::lrint(level));
  }
}

image::Image distort_contrast(image::Image picture, const Draws& draws) {
  if (draws.integer(0, 2) == 0) return picture;
  return scale_values(std::move(picture), draws.uniform(kLowFactor, kHighFactor), 0.0);
}

}  // namespace

image::Image scale_values(image::Image picture, double factor, double offset) {
  const auto scale = static_cast<float>(factor);
  const auto shift = static_cast<float>(offset);
  for (std::uint8_t& value : picture.pixels) value = truncated(static_cast<float>(value) * scale + shift);
  return picture;
}

image::Image rgb_to_hsv(const image::Image& picture) {
  image::Image hsv(picture.width, picture.height, 3);
  for (std::size_t i = 0; i < picture.pixels.size(); i += 3) hsv_of(&picture.pixels[i], &hsv.pixels[i]);
  return hsv;
}

image::Image hsv_to_rgb(const image::Image& picture) {
  image::Image rgb(picture.width, picture.height, 3);
  const int in_vectors = picture.width - picture.width % kVectorPixels;
  for (int y = 0; y < picture.height; ++y) {
    for (int x = 0; x < picture.width; ++x) {
      rgb_of(picture.row(y) + 3 * x, rgb.row(y) + 3 * x, x < in_vectors ? Rounding::down : Rounding::nearest);
    }
  }
  return rgb;
}

image::Image scale_saturation(const image::Image& picture, double factor) {
  image::Image hsv = rgb_to_hsv(picture);
  const auto scale = static_cast<float>(factor);
  for (std::size_t i = 1; i < hsv.pixels.size(); i += 3) {
    hsv.pixels[i] = truncated(static_cast<float>(hsv.pixels[i]) * scale);
  }
  return hsv_to_rgb(hsv);
}

image::Image turn_hue(const image::Image& picture, std::int64_t steps) {
  image::Image hsv = rgb_to_hsv(picture);
  for (std::size_t i = 0; i < hsv.pixels.size(); i += 3) {
    hsv.pixels[i] = static_cast<std::uint8_t>((hsv.pixels[i] + steps + kHueSteps) % kHueSteps);
  }
  return hsv_to_rgb(hsv);
}

image::Image distort_photometrically(image::Image picture, const Draws& draws) {
  if (draws.integer(0, 2) == 1) {
    picture = scale_values(std::move(picture), 1.0, draws.uniform(-kBrightness, kBrightness));
  }
  const bool contrast_first = draws.integer(0, 2) == 1;
  if (contrast_first) picture = distort_contrast(std::move(picture), draws);
  if (draws.integer(0, 2) == 1) picture = scale_saturation(picture, draws.uniform(kLowFactor, kHighFactor));
  if (draws.integer(0, 2) == 1) picture = turn_hue(picture, draws.integer(-kHueReach, kHueReach));
  return contrast_first ? picture : distort_contrast(std::move(picture), draws);
}

}  // namespace spatialmamba::data
