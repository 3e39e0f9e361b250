#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/random.h"
#include "image/image.h"
#include "image/transform.h"

namespace spatialmamba::data {

/// Label of pixels that count for nothing.
inline constexpr std::uint8_t kIgnored = 255;

/// A picture in colour and, of the same size, the class of each pixel (1 channel, kIgnored where unknown).
struct LabelledPicture {
  image::Image picture;
  image::Image labels;
};

/// Where random values come from. A type of its own, so that recorded draws of the reference can be replayed.
struct Draws {
  std::function<double(double low, double high)> uniform;
  std::function<std::int64_t(std::int64_t low, std::int64_t high)> integer;  ///< low <= x < high
  std::function<bool(double probability)> chance;
};

/// Valid as long as `random`.
Draws draws_of(Random& random);

/// What a training picture goes through, in this order: random size, random part, mirror image, photometric
/// distortion, padding to the crop's size. As mmsegmentation does it.
struct SegmentationTransform {
  int long_side = 2048;  ///< the size that a picture is fitted into, before the random factor
  int short_side = 512;
  double min_ratio = 0.5;
  double max_ratio = 2.0;
  int crop = 512;               ///< pixels of the square that is cut out
  double cat_max_ratio = 0.75;  ///< a crop with a larger share of one class is drawn again, up to 10 times
  double flip_probability = 0.5;
  bool photometric = true;
  image::InputFormat format = {};  ///< normalisation; height and width are the crop's
};

/// Throws UsageError for values that mean nothing.
void validate(const SegmentationTransform& transform);

/// The steps one by one.
LabelledPicture resize_randomly(const LabelledPicture& sample, const SegmentationTransform& transform,
                                const Draws& draws);
LabelledPicture crop_randomly(const LabelledPicture& sample, const SegmentationTransform& transform,
                              const Draws& draws);
LabelledPicture flip_randomly(LabelledPicture sample, const SegmentationTransform& transform,
                              const Draws& draws);

/// All of them but the padding.
LabelledPicture augment(const LabelledPicture& sample, const SegmentationTransform& transform,
                        const Draws& draws);

/// Normalised and padded at the right and at the bottom: crop x crop x (3 + 1) floats; the last channel holds
/// the labels, kIgnored in the padding, the first three are 0 there.
void write_sample(const LabelledPicture& sample, const SegmentationTransform& transform,
                  std::span<float> out);

}  // namespace spatialmamba::data
