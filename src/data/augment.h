#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>

#include "base/random.h"
#include "data/rand_augment.h"
#include "image/image.h"
#include "image/resize.h"
#include "image/transform.h"

namespace spatialmamba::data {

/// A random part of the picture, resized to the input size (torchvision's and timm's RandomResizedCrop).
struct RandomResizedCrop {
  double min_area = 0.08;  ///< as a fraction of the picture
  double max_area = 1.0;
  double min_ratio = 3.0 / 4.0;  ///< width / height
  double max_ratio = 4.0 / 3.0;
};

/// timm's RandomErasing in "pixel" mode: a rectangle of standard normal noise, after normalisation.
struct RandomErasing {
  double probability = 0.0;
  double min_area = 0.02;
  double max_area = 1.0 / 3.0;
  double min_ratio = 0.3;
  double max_ratio = 1.0 / 0.3;
};

/// Factors drawn from [max(0, 1 - x), 1 + x], applied in random order (torchvision's ColorJitter without
/// hue).
struct ColorJitter {
  double brightness = 0.0;
  double contrast = 0.0;
  double saturation = 0.0;
};

enum class CropMode {
  random_resized,  ///< for photographs
  padded,          ///< resize to the input size, pad with black, crop at a random place: for small pictures
};

/// What a training sample goes through, in this order: crop, flip, RandAugment or else colour jitter,
/// normalisation, erasing.
struct TrainTransform {
  image::InputFormat format;
  image::Filter filter = image::Filter::bicubic;
  CropMode crop = CropMode::random_resized;
  RandomResizedCrop resized_crop;
  int padding = 0;
  double flip_probability = 0.5;
  RandAugment rand_augment;
  /// Takes the place of RandAugment where that is off, as in timm; both at once are refused.
  ColorJitter color_jitter;
  RandomErasing erasing;
};

/// Throws UsageError for values that mean nothing (a probability of 2, a minimum above its maximum).
void validate(const TrainTransform& transform);

/// One sample into `out` (format.values() floats, HWC); all randomness comes from `random`.
void apply(const TrainTransform& transform, const image::Image& picture, Random& random,
           std::span<float> out);

/// The part of a width x height picture to cut out: ten tries of area, then log-ratio, then top, then left;
/// if none fits, the largest central part of an allowed ratio. `Draws` has uniform(low, high) and below(n),
/// as Random has.
template <typename Draws>
image::Rect draw_resized_crop(int width, int height, const RandomResizedCrop& crop, Draws& draws) {
  constexpr int kTries = 10;
  const double area = static_cast<double>(width) * height;
  const double log_min = std::log(crop.min_ratio);
  const double log_max = std::log(crop.max_ratio);
  for (int attempt = 0; attempt < kTries; ++attempt) {
    const double target = draws.uniform(crop.min_area, crop.max_area) * area;
    const double ratio = std::exp(draws.uniform(log_min, log_max));
    const double w = std::nearbyint(std::sqrt(target * ratio));
    const double h = std::nearbyint(std::sqrt(target / ratio));
    if (w < 1 || h < 1 || w > width || h > height) continue;
    image::Rect rect{.left = 0, .top = 0, .width = static_cast<int>(w), .height = static_cast<int>(h)};
    rect.top = static_cast<int>(draws.below(height - rect.height + 1));
    rect.left = static_cast<int>(draws.below(width - rect.width + 1));
    return rect;
  }
  image::Rect rect{.left = 0, .top = 0, .width = width, .height = height};
  const double ratio = static_cast<double>(width) / height;
  if (ratio < crop.min_ratio)
    rect.height = std::max(1, static_cast<int>(std::nearbyint(width / crop.min_ratio)));
  if (ratio > crop.max_ratio)
    rect.width = std::max(1, static_cast<int>(std::nearbyint(height * crop.max_ratio)));
  rect.left = (width - rect.width) / 2;
  rect.top = (height - rect.height) / 2;
  return rect;
}

}  // namespace spatialmamba::data
