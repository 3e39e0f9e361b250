#pragma once

#include <cstdint>
#include <span>

#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// A 3x3 convolution, zero padding 1, of a map that bilinear resizing made, in the other order: a matrix W_ij
/// for each tap mixes the channels of the map at its own size, and what comes of it is resized, shifted by
/// the tap and added up,
///   conv(up(x))[Y, X] = Σ_ij up(W_ij x)[Y + i - 1, X + j - 1],  nothing being added from beyond the border.
/// Resizing treats rows and columns one after the other, and so do these two functions, for single rows of
/// the map and of the result.

/// Columns: mixed [width][3][3][channels], one row of all W_ij x, becomes
///   out [3][out_width][channels],  out[i][X] = Σ_j (mixed[·][i][j] at out_width)[X + j - 1]
/// One thread.
void resize_taps(const float* mixed, std::int64_t width, std::int64_t channels, std::int64_t out_width,
                 float* out, Isa isa);

struct WeightedRow {
  const float* data;
  float weight;
};

/// Rows: `out`, `count` pixels of `channels` numbers `stride` apart, += the sum of the dense rows times their
/// weights; then (relu) max(out, 0). One thread.
void add_weighted_rows(std::span<const WeightedRow> rows, std::int64_t count, std::int64_t channels,
                       bool relu, float* out, std::int64_t stride, Isa isa);

}  // namespace spatialmamba::kernels
