#pragma once

#include <cstdint>

namespace spatialmamba::kernels {

/// How rows hold their numbers.
enum class RowFormat {
  floats,
  rounded,  ///< floats, rounded to bf16
  pairs,    ///< bf16, two in the place of a float
};

/// Where rows go: dense (the default), or packed for a linear layer, see PackedLinear::destination().
struct RowDestination {
  float* data;
  std::int64_t row_stride;        ///< floats from one row to the next
  std::int64_t piece;             ///< numbers of a row that lie together, a multiple of every vector's
  std::int64_t piece_stride = 0;  ///< floats from one piece of a row to the next
  RowFormat format = RowFormat::floats;

  static RowDestination dense(float* data, std::int64_t channels) {
    return {.data = data, .row_stride = channels, .piece = channels};
  }
};

}  // namespace spatialmamba::kernels
