#include "data/segmentation_transform.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "data/photometric.h"
#include "image/opencv_resize.h"

namespace spatialmamba::data {
namespace {

constexpr int kCropTries = 10;

void require(bool holds, const char* what) {
  if (!holds) fail_usage("segmentation transform: {}", what);
}

/// True when one class has too large a share of what is labelled, or all of it.
bool too_uniform(const image::Image& labels, const image::Rect& part, double max_ratio) {
  std::array<std::int64_t, 256> counts{};
  for (int y = part.top; y < part.top + part.height; ++y) {
    const std::uint8_t* row = labels.row(y);
    for (int x = part.left; x < part.left + part.width; ++x) ++counts[row[x]];
  }
  counts[kIgnored] = 0;
  std::int64_t labelled = 0;
  for (const std::int64_t count : counts) labelled += count;
  const std::int64_t most = *std::max_element(counts.begin(), counts.end());
  const bool several = most < labelled;
  return !several || static_cast<double>(most) / static_cast<double>(labelled) >= max_ratio;
}

image::Rect draw_part(const image::Image& picture, int side, const Draws& draws) {
  const auto top = static_cast<int>(draws.integer(0, std::max(picture.height - side, 0) + 1));
  const auto left = static_cast<int>(draws.integer(0, std::max(picture.width - side, 0) + 1));
  return {left, top, std::min(side, picture.width - left), std::min(side, picture.height - top)};
}

}  // namespace

Draws draws_of(Random& random) {
  return {
      .uniform = [&random](double low, double high) { return random.uniform(low, high); },
      .integer = [&random](std::int64_t low, std::int64_t high) { return low + random.below(high - low); },
      .chance = [&random](double probability) { return random.chance(probability); }};
}

void validate(const SegmentationTransform& transform) {
  require(transform.long_side >= 1 && transform.short_side >= 1, "the size must be at least 1");
  require(transform.min_ratio > 0.0 && transform.min_ratio <= transform.max_ratio,
          "the ratios must be positive, the smaller one first");
  require(transform.crop >= 1, "the crop must be at least 1 pixel");
  require(transform.cat_max_ratio > 0.0 && transform.cat_max_ratio <= 1.0, "cat_max_ratio must be in (0, 1]");
  require(transform.flip_probability >= 0.0 && transform.flip_probability <= 1.0,
          "the probability of mirroring must be in [0, 1]");
}

LabelledPicture resize_randomly(const LabelledPicture& sample, const SegmentationTransform& transform,
                                const Draws& draws) {
  const double ratio = draws.uniform(transform.min_ratio, transform.max_ratio);
  const image::PixelSize size = image::fitted_size(sample.picture.width, sample.picture.height,
                                                   static_cast<int>(transform.long_side * ratio),
                                                   static_cast<int>(transform.short_side * ratio));
  return {image::resize_bilinear_opencv(sample.picture, size.width, size.height),
          image::resize_nearest_opencv(sample.labels, size.width, size.height)};
}

LabelledPicture crop_randomly(const LabelledPicture& sample, const SegmentationTransform& transform,
                              const Draws& draws) {
  image::Rect part = draw_part(sample.picture, transform.crop, draws);
  for (int i = 0; transform.cat_max_ratio < 1.0 && i < kCropTries; ++i) {
    if (!too_uniform(sample.labels, part, transform.cat_max_ratio)) break;
    part = draw_part(sample.picture, transform.crop, draws);
  }
  return {image::crop(sample.picture, part), image::crop(sample.labels, part)};
}

LabelledPicture flip_randomly(LabelledPicture sample, const SegmentationTransform& transform,
                              const Draws& draws) {
  if (!draws.chance(transform.flip_probability)) return sample;
  return {image::flip_horizontal(sample.picture), image::flip_horizontal(sample.labels)};
}

LabelledPicture augment(const LabelledPicture& sample, const SegmentationTransform& transform,
                        const Draws& draws) {
  LabelledPicture result = crop_randomly(resize_randomly(sample, transform, draws), transform, draws);
  result = flip_randomly(std::move(result), transform, draws);
  if (transform.photometric) result.picture = distort_photometrically(std::move(result.picture), draws);
  return result;
}

void write_sample(const LabelledPicture& sample, const SegmentationTransform& transform,
                  std::span<float> out) {
  const int side = transform.crop;
  const image::InputFormat& format = transform.format;
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      float* to = &out[4 * (static_cast<std::size_t>(y) * static_cast<std::size_t>(side) +
                            static_cast<std::size_t>(x))];
      const bool inside = y < sample.picture.height && x < sample.picture.width;
      for (std::size_t c = 0; c < 3; ++c) {
        to[c] = 0.0F;
        if (!inside) continue;
        const std::uint8_t value = sample.picture.row(y)[3 * x + static_cast<int>(c)];
        to[c] = (static_cast<float>(value) - 255.0F * format.mean[c]) / (255.0F * format.std[c]);
      }
      to[3] = static_cast<float>(inside ? sample.labels.row(y)[x] : kIgnored);
    }
  }
}

}  // namespace spatialmamba::data
