#include "kernels/scan_fusion.h"

#include <algorithm>
#include <cmath>

#include "kernels/packed_plane.h"
#include "kernels/sasf.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/scan_fusion.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/fast_math-inl.h"
#include "kernels/sasf_stencil-inl.h"

#ifndef SPATIALMAMBA_KERNELS_SCAN_FUSION_SHARED
#define SPATIALMAMBA_KERNELS_SCAN_FUSION_SHARED
namespace spatialmamba::kernels {
namespace {

/// Tokens whose time steps are formed together; rows of a 224 x 224 image's maps are multiples of it.
constexpr std::int64_t kScanBlock = 7;
/// Rows of states that the fusion of one row reads.
constexpr std::int64_t kRingRows = 2 * kSasfReach + 1;

/// The latest rows of states of one vector of channels, packed side by side with room for the borders.
struct StateRing {
  float* memory;
  std::int64_t width;

  static std::int64_t row_pixels(std::int64_t width) {
    return kSasfReach + (width + kStencilBlock - 1) / kStencilBlock * kStencilBlock + kSasfReach;
  }
  static std::int64_t floats(std::int64_t width) { return kRingRows * row_pixels(width) * kBlockChannels; }

  float* row(std::int64_t y, std::int64_t lanes) const {
    // In 32 bits a remainder costs a third.
    const std::int64_t slot = static_cast<std::uint32_t>(y) % static_cast<std::uint32_t>(kRingRows);
    return memory + (slot * row_pixels(width) + kSasfReach) * lanes;
  }
};

/// Some channels of one image over a band of its rows. The scan begins kSasfReach rows above the band.
struct FusionItem {
  std::int64_t image;
  RowRange channels;
  RowRange band;
};

/// How the work is cut: images x blocks of channels, and only when these do not feed the threads, bands of
/// rows, whose scans need the state at their beginning and cost a second pass over the recurrence.
class FusionPartition {
 public:
  FusionPartition(const ScanFusionInput& in, std::int64_t channels, int threads)
      : in_(in), channels_(channels), blocks_((channels + kWidth - 1) / kWidth) {
    const std::int64_t items = std::max<std::int64_t>(in.images * blocks_, 1);
    constexpr std::int64_t kLeastRows = 2 * kSasfReach;
    const std::int64_t most = std::max<std::int64_t>(in.height / kLeastRows, 1);
    bands_ = items >= threads ? 1 : std::min<std::int64_t>((threads + items - 1) / items, most);
    band_rows_ = (in.height + bands_ - 1) / bands_;
  }

  std::int64_t count() const { return in_.images * blocks_ * bands_; }
  std::int64_t bands() const { return bands_; }
  std::int64_t band(std::int64_t i) const { return i % bands_; }

  FusionItem operator[](std::int64_t i) const {
    const std::int64_t block = i / bands_ % blocks_;
    const std::int64_t first = std::min(band(i) * band_rows_, in_.height);
    return {i / bands_ / blocks_,
            {block * kWidth, std::min((block + 1) * kWidth, channels_)},
            {first, std::min(first + band_rows_, in_.height)}};
  }

  static constexpr std::int64_t kWidth = 2 * kBlockChannels;

 private:
  const ScanFusionInput& in_;
  std::int64_t channels_;
  std::int64_t blocks_;
  std::int64_t bands_ = 1;
  std::int64_t band_rows_ = 1;
};

inline std::int64_t scan_begin(const RowRange& band) {
  return std::max<std::int64_t>(band.begin - kSasfReach, 0);
}

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

// What the scan needs of one vector of channels.
template <class D>
struct ScanChannels {
  D d;
  const ScanFusionWeights& weights;
  std::int64_t c;
  hn::Vec<D> bias;
  hn::Vec<D> rate;

  HWY_INLINE ScanChannels(D tag, const ScanFusionWeights& w, std::int64_t channel)
      : d(tag),
        weights(w),
        c(channel),
        bias(hn::LoadU(tag, w.dt_bias.data() + channel)),
        rate(hn::LoadU(tag, w.rate.data() + channel)) {}
};

// Scans `count` tokens (kScanBlock of them if kWhole, fewer if not) from `token` on: store(i, step, state)
// for each. Whole blocks know no condition: behind one the compiler would form the time steps of the last
// tokens one after the other.
template <bool kWhole, class D, typename Store>
HWY_INLINE void scan_block(const ScanChannels<D>& channels, const ScanFusionInput& in, std::int64_t token,
                           std::int64_t count, hn::Vec<D>& state, const Store& store) {
  const D d = channels.d;
  const ScanFusionWeights& w = channels.weights;
  const float* rows[kScanBlock];
  const float* x[kScanBlock];
#pragma GCC unroll 8
  for (std::int64_t i = 0; i < kScanBlock; ++i) {
    const std::int64_t at = token + (kWhole ? i : std::min(i, count - 1));
    rows[i] = in.projected + at * (w.rank + 2);
    x[i] = in.x + at * w.channels + channels.c;
  }
  Group<D, kScanBlock> steps;
  steps.each([&](int) HWY_ATTR { return channels.bias; });
  const float* weights = w.dt_weights.at(0, channels.c);
  for (std::int64_t r = 0; r < w.rank; ++r) {
    const auto weight = hn::LoadU(d, weights + r * kBlockChannels);
    steps.each([&](int i) HWY_ATTR { return hn::MulAdd(weight, hn::Set(d, rows[i][r]), steps.at[i]); });
  }
  // All that does not depend on the state before, side by side.
  steps = fast_softplus(d, steps);
  Group<D, kScanBlock> decays;
  decays.each([&](int i) HWY_ATTR { return hn::Mul(steps.at[i], channels.rate); });
  decays = fast_exp2_negative(d, decays);
  Group<D, kScanBlock> gains;
  gains.each([&](int i) HWY_ATTR {
    return hn::Mul(hn::Mul(steps.at[i], hn::Set(d, rows[i][w.rank])), hn::LoadU(d, x[i]));
  });
#pragma GCC unroll 8
  for (std::int64_t i = 0; i < kScanBlock; ++i) {
    if (!kWhole && i >= count) break;
    state = hn::MulAdd(decays.at[i], state, gains.at[i]);
    store(i, steps.at[i], state);
  }
}

// Scans some tokens: store(token, step, state) for each.
template <class D, typename Store>
HWY_INLINE void scan_tokens(const ScanChannels<D>& channels, const ScanFusionInput& in, RowRange tokens,
                            hn::Vec<D>& state, const Store& store) {
  std::int64_t t = tokens.begin;
  const auto store_from = [&](std::int64_t i, auto step, auto h) HWY_ATTR { store(t + i, step, h); };
  for (; t + kScanBlock <= tokens.end; t += kScanBlock) {
    scan_block<true>(channels, in, t, kScanBlock, state, store_from);
  }
  if (t < tokens.end) scan_block<false>(channels, in, t, tokens.end - t, state, store_from);
}

// Row y of the states into the ring, its borders replicated.
template <class D>
HWY_INLINE void scan_row(const ScanChannels<D>& channels, const ScanFusionInput& in, std::int64_t first_token,
                         float* row, hn::Vec<D>& state) {
  const D d = channels.d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  scan_tokens(channels, in, {first_token, first_token + in.width}, state,
              [&](std::int64_t t, auto, auto h)
                  HWY_ATTR { hn::StoreU(h, d, row + (t - first_token) * lanes); });
  const auto left = hn::LoadU(d, row);
  const auto right = hn::LoadU(d, row + (in.width - 1) * lanes);
  for (std::int64_t x = -kSasfReach; x < 0; ++x) hn::StoreU(left, d, row + x * lanes);
  const std::int64_t end = StateRing::row_pixels(in.width) - kSasfReach;
  for (std::int64_t x = in.width; x < end; ++x) hn::StoreU(right, d, row + x * lanes);
}

// Row y of the outputs from the ring.
template <class D>
HWY_INLINE void fuse_row(const ScanChannels<D>& channels, const ScanFusionInput& in, std::int64_t first_token,
                         std::int64_t y, const StateRing& ring, float* out) {
  const D d = channels.d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const ScanFusionWeights& w = channels.weights;
  const Taps<D, float> taps{d, w.taps.at(0, channels.c), kBlockChannels};
  const FusionRows<float> rows(y, in.height, [&](std::int64_t row) { return ring.row(row, lanes); });
  const auto skip = hn::LoadU(d, w.skip.data() + channels.c);
  const std::int64_t columns = w.rank + 2;
  const std::int64_t stride = w.channels;
  const float* c = in.projected + first_token * columns + w.rank + 1;
  const float* input = in.x + first_token * stride + channels.c;
  float* output = out + first_token * stride + channels.c;
  for (std::int64_t x0 = 0; x0 < in.width; x0 += kStencilBlock) {
    const auto sums = fuse_block(d, taps, rows, x0);
    store_block(sums, x0, in.width, [&](std::int64_t x, auto s) HWY_ATTR {
      const auto skipped = hn::Mul(skip, hn::LoadU(d, input + x * stride));
      hn::StoreU(hn::MulAdd(s, hn::Set(d, c[x * columns]), skipped), d, output + x * stride);
    });
  }
}

// A band of outputs; its scan begins with `carry`, or (nullptr) with nothing.
void fuse_band(const ScanFusionWeights& w, const ScanFusionInput& in, const FusionItem& item,
               const StateRing& ring, const float* carry, float* y) {
  const std::int64_t first = item.image * in.height * in.width;
  for_vectors<float>(item.channels.begin, item.channels.end, [&](auto d, std::int64_t c) HWY_ATTR {
    const ScanChannels<decltype(d)> channels(d, w, c);
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    auto state = carry == nullptr ? hn::Zero(d) : hn::LoadU(d, carry + (c - item.channels.begin));
    std::int64_t scanned = scan_begin(item.band);
    for (std::int64_t row = item.band.begin; row < item.band.end; ++row) {
      for (; scanned < std::min(row + kSasfReach + 1, in.height); ++scanned) {
        scan_row(channels, in, first + scanned * in.width, ring.row(scanned, lanes), state);
      }
      fuse_row(channels, in, first + row * in.width, row, ring, y);
    }
  });
}

// What the rows between this band's scan and the next one's make of no state at all, and their time steps.
void scan_ahead(const ScanFusionWeights& w, const ScanFusionInput& in, const FusionItem& item, float* end,
                float* steps) {
  const std::int64_t image = item.image * in.height * in.width;
  const std::int64_t last = image + (item.band.end - kSasfReach) * in.width;
  for_vectors<float>(item.channels.begin, item.channels.end, [&](auto d, std::int64_t c) HWY_ATTR {
    const ScanChannels<decltype(d)> channels(d, w, c);
    auto state = hn::Zero(d);
    auto sum = hn::Zero(d);
    scan_tokens(channels, in, {image + scan_begin(item.band) * in.width, last}, state,
                [&](std::int64_t, auto step, auto) HWY_ATTR { sum = hn::Add(sum, step); });
    hn::StoreU(state, d, end + (c - item.channels.begin));
    hn::StoreU(sum, d, steps + (c - item.channels.begin));
  });
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

constexpr std::int64_t kWidth = FusionPartition::kWidth;

/// The states at the beginning of every band: [item][kWidth].
void find_carries(const ScanFusionWeights& w, const ScanFusionInput& in, const FusionPartition& partition,
                  float* carries, float* ends, float* steps, Isa isa, const ParallelFor& parallel) {
  const auto ahead = SPATIALMAMBA_CHOOSE(isa, scan_ahead);
  parallel(partition.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      if (partition.band(i) + 1 == partition.bands()) continue;
      ahead(w, in, partition[i], ends + i * kWidth, steps + i * kWidth);
    }
  });
  for (std::int64_t i = 0; i < partition.count(); ++i) {
    const RowRange channels = partition[i].channels;
    for (std::int64_t c = channels.begin; c < channels.end; ++c) {
      const std::int64_t at = i * kWidth + c - channels.begin;
      const std::int64_t previous = at - kWidth;
      const float decay =
          partition.band(i) == 0 ? 0.0F : std::exp2(w.rate[static_cast<std::size_t>(c)] * steps[previous]);
      carries[at] = partition.band(i) == 0 ? 0.0F : decay * carries[previous] + ends[previous];
    }
  }
}

}  // namespace

void scan_fusion(const ScanFusionWeights& weights, const ScanFusionInput& input, float* y,
                 GemmScratch& scratch, Isa isa, const ParallelFor& parallel) {
  const auto fuse = SPATIALMAMBA_CHOOSE(isa, fuse_band);
  const FusionPartition partition(input, weights.channels, parallel.threads());
  const bool banded = partition.bands() > 1;
  const std::int64_t carried = banded ? partition.count() * kWidth : 0;
  const auto carry_lease = scratch.borrow(static_cast<std::size_t>(3 * carried) * sizeof(float));
  auto* carries = reinterpret_cast<float*>(carry_lease.data());
  if (banded) {
    find_carries(weights, input, partition, carries, carries + carried, carries + 2 * carried, isa, parallel);
  }
  parallel(partition.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    const auto lease =
        scratch.borrow(static_cast<std::size_t>(StateRing::floats(input.width)) * sizeof(float));
    const StateRing ring{reinterpret_cast<float*>(lease.data()), input.width};
    for (std::int64_t i = begin; i < end; ++i) {
      fuse(weights, input, partition[i], ring, banded ? carries + i * kWidth : nullptr, y);
    }
  });
}

}  // namespace spatialmamba::kernels
#endif
