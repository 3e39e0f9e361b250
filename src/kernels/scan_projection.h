#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/aligned_vector.h"
#include "kernels/scan_partition.h"
#include "kernels/selective_scan.h"

namespace spatialmamba::kernels {

/// dt_weight [E, R] as [R][E], so that channels are contiguous; empty when delta is given.
template <typename T>
AlignedVector<T> transposed_projection(const ScanInput<T>& input) {
  AlignedVector<T> transposed;
  if (input.delta != nullptr) return transposed;
  transposed.resize(static_cast<std::size_t>(input.dt_rank * input.channels));
  for (std::int64_t c = 0; c < input.channels; ++c) {
    for (std::int64_t r = 0; r < input.dt_rank; ++r) {
      transposed[static_cast<std::size_t>(r * input.channels + c)] = input.dt_weight[c * input.dt_rank + r];
    }
  }
  return transposed;
}

/// What enters every chunk of the sequence, from what each chunk makes of nothing (`ends`) and its summed
/// time steps, over which a carry decays: in the order of time, or against it for gradients. Rows are [image,
/// chunk].
template <typename T>
void carry_over(const ScanInput<T>& input, const ScanPartition& partition, PartialSums<T>& ends,
                PartialSums<T>& steps, bool backward, PartialSums<T>& carries) {
  const std::int64_t chunks = partition.chunks();
  for (std::int64_t image = 0; image < input.images; ++image) {
    for (std::int64_t i = 0; i + 1 < chunks; ++i) {
      const std::int64_t from = image * chunks + (backward ? chunks - 1 - i : i);
      const std::int64_t to = backward ? from - 1 : from + 1;
      for (std::int64_t c = 0; c < input.channels; ++c) {
        const T decay = std::exp(-std::exp(input.a_log[c]) * steps[from][c]);
        carries[to][c] = decay * carries[from][c] + ends[from][c];
      }
    }
  }
}

}  // namespace spatialmamba::kernels
