#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace spatialmamba::image {

/// What each output position takes from the input along one axis, in Pillow's fixed point.
struct Taps {
  static constexpr int kPrecisionBits = 22;  // 32 - 8 bits of pixel - 2 of headroom

  struct Position {
    int first = 0;  ///< first input position
    int count = 0;
    std::size_t weights = 0;  ///< where its weights begin
  };
  std::vector<Position> positions;
  std::vector<std::int32_t> weights;
};

/// Rows of interleaved 8-bit channels somewhere in memory.
struct PixelView {
  const std::uint8_t* data = nullptr;
  std::size_t stride = 0;  ///< bytes from row to row
  int width = 0;
  int height = 0;
  int channels = 0;
};

/// Resizes each row of `in` to taps.positions.size() pixels; `out` holds the rows without gaps.
void resize_rows(const PixelView& in, const Taps& taps, std::uint8_t* out);

/// Resizes the columns of `in` to taps.positions.size() rows; `out` holds the rows without gaps.
void resize_columns(const PixelView& in, const Taps& taps, std::uint8_t* out);

}  // namespace spatialmamba::image
