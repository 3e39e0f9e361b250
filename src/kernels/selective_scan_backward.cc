#include <algorithm>

#include "kernels/aligned_vector.h"
#include "kernels/scan_partition.h"
#include "kernels/scan_projection.h"
#include "kernels/selective_scan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/selective_scan_backward.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/selective_scan-inl.h"

#ifndef SPATIALMAMBA_KERNELS_SELECTIVE_SCAN_BACKWARD_SHARED
#define SPATIALMAMBA_KERNELS_SELECTIVE_SCAN_BACKWARD_SHARED
namespace spatialmamba::kernels {
namespace {

/// Where one item adds its share of the gradients that are sums. All are zero at first.
template <typename T>
struct ScanSums {
  T* carry;   ///< of the item's channels: the gradient that arrives at its last token; moved to its first
  T* da_log;  ///< [E]
  T* ddelta_bias;  ///< [E]
  T* db;           ///< [N, L] of the item's channel block
  T* dprojection;  ///< [R][E], or nullptr
  T* ddt_lowrank;  ///< [N, L, R] of the item's channel block, or nullptr
};

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

// The gradient that leaves an item at its first token when none arrives at its last, and its summed time
// steps.
template <typename T>
void carry_of_item(const ScanInput<T>& in, const ScanGradient<T>& grad, const T* projection,
                   const ScanItem& item, T* carry, T* steps) {
  const std::int64_t first = item.channels.begin;
  const AlignedVector<T> rates = decay_rates(in, item.channels);
  DeltaTiles<T> tiles(in, projection, item.channels);
  for (std::int64_t end = item.tokens.end; end > item.tokens.begin; end -= kScanTile) {
    const std::int64_t t = std::max(end - kScanTile, item.tokens.begin);
    const std::int64_t token = item.image * in.length + t;
    const T* delta = tiles.at(token, end - t);
    for_vectors<T>(first, item.channels.end, [&](auto d, std::int64_t c) HWY_ATTR {
      const std::int64_t local = c - first;
      auto arriving = hn::LoadU(d, carry + local);
      auto elapsed = hn::LoadU(d, steps + local);
      for (std::int64_t i = end - t - 1; i >= 0; --i) {
        const auto x =
            hn::Add(hn::LoadU(d, delta + i * tiles.stride() + local), hn::LoadU(d, in.delta_bias + c));
        const auto step = softplus(d, x);
        const auto g = hn::Add(hn::LoadU(d, grad.dh + (token + i) * in.channels + c), arriving);
        arriving = hn::Mul(exp_normal(d, hn::Mul(step, hn::LoadU(d, rates.data() + local))), g);
        elapsed = hn::Add(elapsed, step);
      }
      hn::StoreU(arriving, d, carry + local);
      hn::StoreU(elapsed, d, steps + local);
    });
  }
}

// One sum over channels for each token of a tile.
template <typename T>
class TileSums {
 public:
  TileSums() { std::fill_n(values_, kScanTile * kLanes, T{0}); }

  template <class D>
  HWY_INLINE void add(D d, std::int64_t i, hn::Vec<D> v) {
    T* at = values_ + i * kLanes;
    hn::StoreU(hn::Add(hn::LoadU(d, at), v), d, at);
  }
  HWY_INLINE T operator[](std::int64_t i) const {
    return hn::GetLane(hn::SumOfLanes(kTag, hn::LoadU(kTag, values_ + i * kLanes)));
  }

 private:
  static constexpr hn::ScalableTag<T> kTag{};
  static constexpr std::int64_t kLanes = HWY_LANES(T);
  T values_[kScanTile * kLanes];
};

// Through the projection that made a tile of time steps: adds to ddt_lowrank [tokens][R] and dprojection
// [R][E].
template <typename T>
void differentiate_projection(const ScanInput<T>& in, const T* projection, RowRange channels,
                              std::int64_t token, std::int64_t count, const T* ddelta, T* ddt_lowrank,
                              T* dprojection) {
  const std::int64_t stride = channels.end - channels.begin;
  for (std::int64_t r = 0; r < in.dt_rank; ++r) {
    const T* weights = projection + r * in.channels;
    T* dweights = dprojection + r * in.channels;
    TileSums<T> sums;
    for_vectors<T>(channels.begin, channels.end, [&](auto d, std::int64_t c) HWY_ATTR {
      const auto w = hn::LoadU(d, weights + c);
      auto dw = hn::LoadU(d, dweights + c);
      for (std::int64_t i = 0; i < count; ++i) {
        const auto g = hn::LoadU(d, ddelta + i * stride + (c - channels.begin));
        sums.add(d, i, hn::Mul(g, w));
        dw = hn::MulAdd(g, hn::Set(d, in.dt_lowrank[(token + i) * in.dt_stride + r]), dw);
      }
      hn::StoreU(dw, d, dweights + c);
    });
    for (std::int64_t i = 0; i < count; ++i) ddt_lowrank[(token + i) * in.dt_rank + r] = sums[i];
  }
}

template <typename T>
void differentiate_item(const ScanInput<T>& in, const ScanGradient<T>& grad, const T* projection,
                        const ScanItem& item, const ScanSums<T>& sums) {
  const std::int64_t first = item.channels.begin;
  const std::int64_t width = item.channels.end - first;
  const AlignedVector<T> rates = decay_rates(in, item.channels);
  DeltaTiles<T> tiles(in, projection, item.channels);
  AlignedVector<T> scratch(grad.ddelta == nullptr ? static_cast<std::size_t>(kScanTile * width) : 0);
  for (std::int64_t end = item.tokens.end; end > item.tokens.begin; end -= kScanTile) {
    const std::int64_t t = std::max(end - kScanTile, item.tokens.begin);
    const std::int64_t token = item.image * in.length + t;
    const T* delta = tiles.at(token, end - t);
    T* ddelta = grad.ddelta == nullptr ? scratch.data() : grad.ddelta + token * in.channels + first;
    const std::int64_t ddelta_stride = grad.ddelta == nullptr ? width : in.channels;
    TileSums<T> db;
    for_vectors<T>(first, item.channels.end, [&](auto d, std::int64_t c) HWY_ATTR {
      const std::int64_t local = c - first;
      const auto bias = hn::LoadU(d, in.delta_bias + c);
      const auto rate = hn::LoadU(d, rates.data() + local);
      auto arriving = hn::LoadU(d, sums.carry + local);
      auto da = hn::LoadU(d, sums.da_log + c);
      auto dbias = hn::LoadU(d, sums.ddelta_bias + c);
      for (std::int64_t i = end - t - 1; i >= 0; --i) {
        const std::int64_t at = (token + i) * in.channels + c;
        const auto x = hn::Add(hn::LoadU(d, delta + i * tiles.stride() + local), bias);
        const auto step = softplus_with_slope(d, x);
        const auto decay = exp_normal(d, hn::Mul(step.value, rate));
        const auto before = t + i > 0 ? hn::LoadU(d, grad.h + at - in.channels) : hn::Zero(d);
        const auto g = hn::Add(hn::LoadU(d, grad.dh + at), arriving);
        const auto u = hn::LoadU(d, in.u + (token + i) * in.u_stride + c);
        const auto b = hn::Set(d, in.b[(token + i) * in.b_stride]);
        arriving = hn::Mul(decay, g);
        // d(decay)/d(step) · g · h_{t-1}, and times step / A what A_log gets.
        const auto through_decay = hn::Mul(hn::Mul(arriving, before), rate);
        const auto g_u = hn::Mul(g, u);
        const auto dx = hn::Mul(hn::MulAdd(b, g_u, through_decay), step.slope);
        da = hn::MulAdd(through_decay, step.value, da);
        dbias = hn::Add(dbias, dx);
        hn::StoreU(dx, d, ddelta + i * ddelta_stride + local);
        db.add(d, i, hn::Mul(g_u, step.value));
        T* du = grad.du + (token + i) * grad.du_stride + c;
        const auto so_far = grad.accumulate_du ? hn::LoadU(d, du) : hn::Zero(d);
        hn::StoreU(hn::MulAdd(hn::Mul(g, step.value), b, so_far), d, du);
      }
      hn::StoreU(arriving, d, sums.carry + local);
      hn::StoreU(da, d, sums.da_log + c);
      hn::StoreU(dbias, d, sums.ddelta_bias + c);
    });
    for (std::int64_t i = 0; i < end - t; ++i) sums.db[token + i] = db[i];
    if (grad.ddelta == nullptr) {
      differentiate_projection(in, projection, item.channels, token, end - t, scratch.data(),
                               sums.ddt_lowrank, sums.dprojection);
    }
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

// The sums over all items, each in a fixed order.
template <typename T>
void gather_sums(const ScanInput<T>& input, const ScanGradient<T>& grad, const PartialSums<T>& by_row,
                 const PartialSums<T>& by_block, const ParallelFor& parallel) {
  by_row.sum_to(0, input.channels, grad.da_log);
  by_row.sum_to(input.channels, input.channels, grad.ddelta_bias);
  const std::int64_t tokens = input.images * input.length;
  const std::int64_t rank = input.delta == nullptr ? input.dt_rank : 0;
  if (rank > 0) {
    AlignedVector<T> dprojection(static_cast<std::size_t>(rank * input.channels));
    by_row.sum_to(2 * input.channels, rank * input.channels, dprojection.data());
    for (std::int64_t c = 0; c < input.channels; ++c) {
      for (std::int64_t r = 0; r < rank; ++r) {
        grad.ddt_weight[c * rank + r] = dprojection[static_cast<std::size_t>(r * input.channels + c)];
      }
    }
  }
  parallel(tokens, grain_for(rank + 1), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t token = begin; token < end; ++token) {
      by_block.sum_to(token, 1, grad.db + token * grad.db_stride);
      if (rank > 0) by_block.sum_to(tokens + token * rank, rank, grad.ddt_lowrank + token * grad.ddt_stride);
    }
  });
}

}  // namespace

template <typename T>
void selective_scan_backward(const ScanInput<T>& input, const ScanGradient<T>& gradient, Isa isa,
                             const ParallelFor& parallel) {
  const auto differentiate = SPATIALMAMBA_CHOOSE(isa, differentiate_item<T>);
  const AlignedVector<T> projection = transposed_projection(input);
  const ScanPartition partition(input.images, input.length, input.channels, parallel.threads());
  const std::int64_t rows = input.images * partition.chunks();
  const std::int64_t rank = input.delta == nullptr ? input.dt_rank : 0;
  const std::int64_t tokens = input.images * input.length;
  PartialSums<T> carries(rows, input.channels);
  PartialSums<T> by_row(rows, (2 + rank) * input.channels);          // dA_log, ddelta_bias, d(projection)
  PartialSums<T> by_block(partition.blocks(), (1 + rank) * tokens);  // dB, d(dt_lowrank)
  const auto for_items = [&](auto&& body) {
    parallel(partition.count(), 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t i = begin; i < end; ++i) {
        const ScanItem item = partition[i];
        body(item, item.image * partition.chunks() + item.chunk);
      }
    });
  };
  if (partition.chunks() > 1) {
    const auto find_carry = SPATIALMAMBA_CHOOSE(isa, carry_of_item<T>);
    PartialSums<T> ends(rows, input.channels);
    PartialSums<T> steps(rows, input.channels);
    for_items([&](const ScanItem& item, std::int64_t row) {
      if (item.chunk == 0) return;
      const std::int64_t first = item.channels.begin;
      find_carry(input, gradient, projection.data(), item, ends[row] + first, steps[row] + first);
    });
    carry_over(input, partition, ends, steps, true, carries);
  }
  for_items([&](const ScanItem& item, std::int64_t row) {
    T* sums = by_row[row];
    T* block = by_block[item.block];
    differentiate(input, gradient, projection.data(), item,
                  {.carry = carries[row] + item.channels.begin,
                   .da_log = sums,
                   .ddelta_bias = sums + input.channels,
                   .db = block,
                   .dprojection = sums + 2 * input.channels,
                   .ddt_lowrank = block + tokens});
  });
  gather_sums(input, gradient, by_row, by_block, parallel);
}

template void selective_scan_backward(const ScanInput<float>&, const ScanGradient<float>&, Isa,
                                      const ParallelFor&);
template void selective_scan_backward(const ScanInput<double>&, const ScanGradient<double>&, Isa,
                                      const ParallelFor&);

}  // namespace spatialmamba::kernels
#endif
