#pragma once

#include <cstdint>

#include "kernels/isa.h"
#include "kernels/row_destination.h"

namespace spatialmamba::kernels {

/// Rows of `channels` numbers, `stride` apart.
struct ConstRows {
  const float* data;
  std::int64_t stride;
};

/// out = (x - mean) / sqrt(var + epsilon) for each of `count` rows (population variance). The gain and the
/// shift of a LayerNorm are left to the linear layer behind it. One thread.
void normalise_rows(std::int64_t count, std::int64_t channels, ConstRows x, float epsilon,
                    const RowDestination& out, Isa isa);

/// What stands between the state space and its output projection, for each of `count` rows:
///   out = ((x - mean) / sqrt(var + epsilon) · gamma + beta) · gate
void normalise_gated_rows(std::int64_t count, std::int64_t channels, ConstRows x, const float* gamma,
                          const float* beta, ConstRows gate, float epsilon, const RowDestination& out,
                          Isa isa);

/// sums [channels] += the `count` rows of x.
void add_rows(std::int64_t count, std::int64_t channels, ConstRows x, float* sums, Isa isa);

}  // namespace spatialmamba::kernels
