#pragma once

#include "data/segmentation_transform.h"
#include "image/image.h"

namespace spatialmamba::data {

/// Every value times `factor` plus `offset` in single precision, cut to 0..255 and truncated.
image::Image scale_values(image::Image picture, double factor, double offset);

/// Hue (0 to 179), saturation and value of each pixel, as OpenCV converts 8-bit pictures; and back.
image::Image rgb_to_hsv(const image::Image& picture);
image::Image hsv_to_rgb(const image::Image& picture);

/// The saturation times `factor`, as scale_values() does it.
image::Image scale_saturation(const image::Image& picture, double factor);

/// The hue turned by so many of its 180 steps.
image::Image turn_hue(const image::Image& picture, std::int64_t steps);

/// mmsegmentation's PhotoMetricDistortion, each part in one half of the cases: brightness +-32, contrast x
/// 0.5 to 1.5 (before or behind the next two), saturation x 0.5 to 1.5, hue -18 to 17 steps.
image::Image distort_photometrically(image::Image picture, const Draws& draws);

}  // namespace spatialmamba::data
