#include "kernels/selective_scan.h"

#include <algorithm>

#include "kernels/aligned_vector.h"
#include "kernels/scan_partition.h"
#include "kernels/scan_projection.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/selective_scan.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/selective_scan-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

// Runs the recurrence over an item from the state `carry` (of its channels), which it moves to the item's
// end. Writes the states to h, or (h == nullptr) adds up the time steps in `steps`.
template <typename T>
void scan_item(const ScanInput<T>& in, const T* projection, const ScanItem& item, T* carry, T* steps, T* h) {
  const std::int64_t first = item.channels.begin;
  const std::int64_t width = item.channels.end - first;
  const AlignedVector<T> rates = decay_rates(in, item.channels);
  DeltaTiles<T> tiles(in, projection, item.channels);
  for (std::int64_t t = item.tokens.begin; t < item.tokens.end; t += kScanTile) {
    const std::int64_t count = std::min(kScanTile, item.tokens.end - t);
    const std::int64_t token = item.image * in.length + t;
    const T* delta = tiles.at(token, count);
    // Token by token, the states in the first-level cache: memory is read in its order.
    for (std::int64_t i = 0; i < count; ++i) {
      const T* x = delta + i * tiles.stride();
      const T* u = in.u + (token + i) * in.u_stride + first;
      const T b = in.b[(token + i) * in.b_stride];
      for_vectors<T>(0, width, [&](auto d, std::int64_t c) HWY_ATTR {
        const auto step = softplus(d, hn::Add(hn::LoadU(d, x + c), hn::LoadU(d, in.delta_bias + first + c)));
        const auto gain = hn::Mul(hn::Mul(step, hn::Set(d, b)), hn::LoadU(d, u + c));
        const auto decay = exp_normal(d, hn::Mul(step, hn::LoadU(d, rates.data() + c)));
        const auto state = hn::MulAdd(decay, hn::LoadU(d, carry + c), gain);
        hn::StoreU(state, d, carry + c);
        if (h == nullptr) {
          hn::StoreU(hn::Add(hn::LoadU(d, steps + c), step), d, steps + c);
        } else {
          hn::StoreU(state, d, h + (token + i) * in.channels + first + c);
        }
      });
    }
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {

template <typename T>
void selective_scan_forward(const ScanInput<T>& input, T* h, Isa isa, const ParallelFor& parallel) {
  const auto scan = SPATIALMAMBA_CHOOSE(isa, scan_item<T>);
  const AlignedVector<T> projection = transposed_projection(input);
  const ScanPartition partition(input.images, input.length, input.channels, parallel.threads());
  const std::int64_t rows = input.images * partition.chunks();
  // State at the start of every chunk [image, chunk][E].
  PartialSums<T> carries(rows, input.channels);
  const auto for_items = [&](auto&& body) {
    parallel(partition.count(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) body(partition[i]);
    });
  };
  if (partition.chunks() > 1) {
    PartialSums<T> ends(rows, input.channels);
    PartialSums<T> steps(rows, input.channels);
    for_items([&](const ScanItem& item) {
      if (item.chunk == partition.chunks() - 1) return;
      const std::int64_t row = item.image * partition.chunks() + item.chunk;
      const std::int64_t first = item.channels.begin;
      scan(input, projection.data(), item, ends[row] + first, steps[row] + first, nullptr);
    });
    carry_over(input, partition, ends, steps, false, carries);
  }
  for_items([&](const ScanItem& item) {
    T* carry = carries[item.image * partition.chunks() + item.chunk] + item.channels.begin;
    scan(input, projection.data(), item, carry, nullptr, h);
  });
}

template void selective_scan_forward(const ScanInput<float>&, float*, Isa, const ParallelFor&);
template void selective_scan_forward(const ScanInput<double>&, double*, Isa, const ParallelFor&);

}  // namespace spatialmamba::kernels
#endif
