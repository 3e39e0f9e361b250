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
    for (std::int64_t i = end - t - 1; i >= 0; --i) {
      const T* x = delta + i * tiles.stride();
      const T* dh = grad.dh + (token + i) * in.channels + first;
      for_vectors<T>(0, item.channels.end - first, [&](auto d, std::int64_t c) HWY_ATTR {
        const auto step = softplus(d, hn::Add(hn::LoadU(d, x + c), hn::LoadU(d, in.delta_bias + first + c)));
        const auto g = hn::Add(hn::LoadU(d, dh + c), hn::LoadU(d, carry + c));
        hn::StoreU(hn::Mul(exp_normal(d, hn::Mul(step, hn::LoadU(d, rates.data() + c))), g), d, carry + c);
        hn::StoreU(hn::Add(hn::LoadU(d, steps + c), step), d, steps + c);
      });
    }
  }
}

// The share of the channels [begin, end) in the gradients of the projection that made a tile of time steps:
// adds to row r of dprojection, and to one sum over channels for each token.
template <class D, typename T>
HWY_INLINE void differentiate_projection_row(D d, std::int64_t begin, std::int64_t end, const T* weights,
                                             const T* ddelta, std::int64_t stride, const T (&dt)[kScanTile],
                                             T* dweights, T (&sums)[kScanTile]) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<D> totals[kScanTile];
  for (auto& total : totals) total = hn::Zero(d);
  for (std::int64_t c = begin; c < end; c += lanes) {
    const auto w = hn::LoadU(d, weights + c);
    auto dw = hn::LoadU(d, dweights + c);
#pragma GCC unroll 8
    for (std::int64_t i = 0; i < kScanTile; ++i) {
      const auto g = hn::LoadU(d, ddelta + i * stride + c);
      totals[i] = hn::MulAdd(g, w, totals[i]);
      dw = hn::MulAdd(g, hn::Set(d, dt[i]), dw);
    }
    hn::StoreU(dw, d, dweights + c);
  }
  for (std::int64_t i = 0; i < kScanTile; ++i) sums[i] += hn::GetLane(hn::SumOfLanes(d, totals[i]));
}

// Through the projection that made a tile of time steps: adds to ddt_lowrank [tokens][R] and dprojection
// [R][E]. Rows of ddelta [kScanTile][width] beyond the last token are zero.
template <typename T>
void differentiate_projection(const ScanInput<T>& in, const T* projection, RowRange channels,
                              std::int64_t token, std::int64_t count, const T* ddelta, T* ddt_lowrank,
                              T* dprojection) {
  const hn::ScalableTag<T> wide;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(wide));
  const std::int64_t width = channels.end - channels.begin;
  const std::int64_t whole = width / lanes * lanes;
  for (std::int64_t r = 0; r < in.dt_rank; ++r) {
    const T* weights = projection + r * in.channels + channels.begin;
    T* dweights = dprojection + r * in.channels + channels.begin;
    T dt[kScanTile];
    for (std::int64_t i = 0; i < kScanTile; ++i) {
      dt[i] = in.dt_lowrank[(token + std::min(i, count - 1)) * in.dt_stride + r];
    }
    T sums[kScanTile] = {};
    differentiate_projection_row(wide, 0, whole, weights, ddelta, width, dt, dweights, sums);
    if (whole < width) {
      const hn::CappedTag<T, 1> single;
      differentiate_projection_row(single, whole, width, weights, ddelta, width, dt, dweights, sums);
    }
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
  const AlignedVector<T> zeros(static_cast<std::size_t>(width));  // the state before the first token
  T* da_log = sums.da_log + first;
  T* dbias = sums.ddelta_bias + first;
  AlignedVector<T> scratch(grad.ddelta == nullptr ? static_cast<std::size_t>(kScanTile * width) : 0);
  for (std::int64_t end = item.tokens.end; end > item.tokens.begin; end -= kScanTile) {
    const std::int64_t t = std::max(end - kScanTile, item.tokens.begin);
    const std::int64_t token = item.image * in.length + t;
    const T* delta = tiles.at(token, end - t);
    T* ddelta = grad.ddelta == nullptr ? scratch.data() : grad.ddelta + token * in.channels + first;
    const std::int64_t ddelta_stride = grad.ddelta == nullptr ? width : in.channels;
    // Token by token, what is carried in the first-level cache: memory is read in its order.
    for (std::int64_t i = end - t - 1; i >= 0; --i) {
      const T* x = delta + i * tiles.stride();
      const T* u = in.u + (token + i) * in.u_stride + first;
      const T* dh = grad.dh + (token + i) * in.channels + first;
      const T* before = t + i > 0 ? grad.h + (token + i - 1) * in.channels + first : zeros.data();
      T* du = grad.du + (token + i) * grad.du_stride + first;
      T* dx_row = ddelta + i * ddelta_stride;
      const T b_t = in.b[(token + i) * in.b_stride];
      RowSum<T> db;
      for_vectors<T>(0, width, [&](auto d, std::int64_t c) HWY_ATTR {
        const auto step =
            softplus_with_slope(d, hn::Add(hn::LoadU(d, x + c), hn::LoadU(d, in.delta_bias + first + c)));
        const auto rate = hn::LoadU(d, rates.data() + c);
        const auto b = hn::Set(d, b_t);
        const auto g = hn::Add(hn::LoadU(d, dh + c), hn::LoadU(d, sums.carry + c));
        const auto leaving = hn::Mul(exp_normal(d, hn::Mul(step.value, rate)), g);
        hn::StoreU(leaving, d, sums.carry + c);
        // d(decay)/d(step) · g · h_{t-1}, and times the step what A_log gets.
        const auto through_decay = hn::Mul(hn::Mul(leaving, hn::LoadU(d, before + c)), rate);
        hn::StoreU(hn::MulAdd(through_decay, step.value, hn::LoadU(d, da_log + c)), d, da_log + c);
        const auto g_u = hn::Mul(g, hn::LoadU(d, u + c));
        const auto dx = hn::Mul(hn::MulAdd(b, g_u, through_decay), step.slope);
        hn::StoreU(hn::Add(dx, hn::LoadU(d, dbias + c)), d, dbias + c);
        hn::StoreU(dx, d, dx_row + c);
        db.add_product(d, g_u, step.value);
        const auto so_far = grad.accumulate_du ? hn::LoadU(d, du + c) : hn::Zero(d);
        hn::StoreU(hn::MulAdd(hn::Mul(g, step.value), b, so_far), d, du + c);
      });
      sums.db[token + i] = db.value();
    }
    if (grad.ddelta == nullptr) {
      std::fill(scratch.begin() + (end - t) * width, scratch.end(), T{0});
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
