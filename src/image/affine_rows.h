#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "image/affine.h"
#include "image/wide_pixels.h"

namespace spatialmamba::image {

/// A picture of wide pixels, its edges repeated as far outward as bicubic reaches from a point inside.
struct PaddedPixels {
  static constexpr int kMargin = 2;

  std::vector<std::uint8_t> bytes;
  std::ptrdiff_t row_bytes = 0;
  int width = 0;
  int height = 0;
  int channels = 0;

  const std::uint8_t* at(int x, int y) const {
    return bytes.data() + row_bytes * (y + kMargin) +
           static_cast<std::ptrdiff_t>(kPixelSlots) * (x + kMargin);
  }
};

/// Columns from `begin` to before `end`.
struct Columns {
  int begin;
  int end;
};

/// Row y of the moved picture into `out`, `width` wide pixels: the columns that are returned, which come from
/// inside of the picture; the others are left alone. Every instruction set gives the same bytes.
Columns transform_row(const PaddedPixels& in, const Affine& affine, Filter filter, int y, std::uint8_t* out);

}  // namespace spatialmamba::image
