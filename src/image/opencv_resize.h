#pragma once

#include "image/image.h"

namespace spatialmamba::image {

/// Resizes bit for bit as OpenCV's cv::resize does 8-bit pictures: INTER_LINEAR (no antialiasing, 11-bit
/// fixed point, the mean of four pixels where both sides are halved exactly). Throws Error for sizes below 1.
Image resize_bilinear_opencv(const Image& picture, int width, int height);

/// INTER_NEAREST: for label maps, whose values must not be mixed.
Image resize_nearest_opencv(const Image& picture, int width, int height);

/// The largest size with the picture's proportions whose long side is at most `long_side` and whose short
/// side is at most `short_side` (OpenMMLab's keep-ratio resizing).
struct PixelSize {
  int width = 0;
  int height = 0;
  bool operator==(const PixelSize&) const = default;
};
PixelSize fitted_size(int width, int height, int long_side, int short_side);

}  // namespace spatialmamba::image
