#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "base/random.h"
#include "detection/boxes.h"
#include "image/image.h"

namespace spatialmamba::data {

/// One object of a training picture.
struct LabelledObject {
  detection::Box box;
  std::int64_t label = 0;
  bool ignored = false;  ///< a crowd, or an outline of nothing: no object to learn, no background either
  image::Image mask;     ///< 0 and 1, of the picture's size
};

/// A picture in colour with what is to be found in it.
struct DetectionPicture {
  image::Image picture;
  std::vector<LabelledObject> objects;
};

/// Where random values come from: integers low <= x < high. A function, so that recorded draws can be
/// replayed.
using DrawInteger = std::function<std::int64_t(std::int64_t low, std::int64_t high)>;

/// Scaled to width x height: the picture smoothly, masks by their nearest pixels, boxes by both factors and
/// clipped.
DetectionPicture resize(const DetectionPicture& sample, int width, int height);
/// Scaled so that the long and the short side fit (OpenMMLab's keep-ratio).
DetectionPicture fit(const DetectionPicture& sample, int long_side, int short_side);
/// The mirror image.
DetectionPicture flip(DetectionPicture sample);
/// A part of the picture; objects without a box in it go.
DetectionPicture crop(const DetectionPicture& sample, const image::Rect& part);

/// mmdetection's training pipelines for Mask R-CNN.
struct DetectionTransform {
  bool random_flip = true;
  int long_side = 1333;
  /// One of these short sides is drawn; the 1x schedule has but one.
  std::vector<int> short_sides = {800};
  /// Not empty (3x): every second picture is first fitted to one of these, and a random part of `crop_low` to
  /// `crop_high` pixels a side is cut out.
  std::vector<int> crop_short_sides = {};
  int crop_low = 384;
  int crop_high = 600;
};

/// The 3x schedule's: short sides 480, 512, ..., 800, crops from 400, 500 or 600.
DetectionTransform multi_scale_transform();

/// Throws UsageError for values that mean nothing.
void validate(const DetectionTransform& transform);

/// All of it. The 1x schedule (no crops) resizes first and flips then, the 3x schedule flips first, as the
/// reference.
DetectionPicture apply(const DetectionTransform& transform, const DetectionPicture& sample,
                       const DrawInteger& draw);

}  // namespace spatialmamba::data
