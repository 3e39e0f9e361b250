#pragma once

#include <cstdint>
#include <span>

#include "base/parallel.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// RoIAlign (He et al. 2017, section 3) in the form of the detection libraries: each box is cut into size x
/// size bins, and a bin's value is the mean of bilinear samples on a regular grid inside it.
///   start = x1 · scale - 1/2,  bin = (x2 - x1) · scale / size      (aligned; otherwise without the 1/2, and
///   boxes
///                                                                   are at least one cell wide)
///   samples per bin and direction = sampling_ratio, or ceil(bin) when that is 0
/// Samples up to one cell outside the map take the border's value, those further out are 0. A box without
/// extent has no samples and gives 0.
template <typename T>
struct RoiAlign {
  std::int64_t images = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  const T* boxes = nullptr;  ///< [n][5]: image, x1, y1, x2, y2 in pixels of the input
  /// Rows of `boxes` to work on; row r of the pooled features belongs to box r, whichever are chosen.
  std::span<const std::int64_t> chosen;
  T scale = 1;            ///< cells of this map per pixel
  std::int64_t size = 7;  ///< bins per side
  std::int64_t sampling_ratio = 0;
  bool aligned = true;
};

/// features [images, H, W, C] -> pooled [n, size, size, C], the chosen rows only. Throws Error naming a box
/// whose image does not exist, that is not finite, or (aligned) ends before it starts.
template <typename T>
void roi_align_forward(const RoiAlign<T>& roi, const T* features, T* pooled, Isa isa,
                       const ParallelFor& parallel);

/// Adds to dfeatures [images, H, W, C] what dpooled [n, size, size, C] gives. The result does not depend on
/// the number of threads.
template <typename T>
void roi_align_backward(const RoiAlign<T>& roi, const T* dpooled, T* dfeatures, Isa isa,
                        const ParallelFor& parallel);

}  // namespace spatialmamba::kernels
