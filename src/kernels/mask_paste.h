#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// A rectangle of a picture that a mask was laid into, row by row.
struct PastedMask {
  std::int64_t left = 0;
  std::int64_t top = 0;
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::vector<float> values;  ///< [height][width]
};

/// Stretches mask [size][size] over `box` (x1, y1, x2, y2 in pixels) of a picture: bilinear between the
/// centres of the mask's cells, 0 beyond its border. Only the pixels around the box that lie in the picture
/// are computed, everything else is 0; a box outside gives an empty rectangle. Throws Error for a box that is
/// not finite.
PastedMask paste_mask(std::span<const float> mask, std::int64_t size, const std::array<float, 4>& box,
                      std::int64_t picture_height, std::int64_t picture_width, Isa isa);

}  // namespace spatialmamba::kernels
