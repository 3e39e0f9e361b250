// What the passes of the selective scan share, compiled per instruction set: include after
// hwy/foreach_target.h and hwy/highway.h.

#if defined(SPATIALMAMBA_SELECTIVE_SCAN_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef SPATIALMAMBA_SELECTIVE_SCAN_TOGGLE
#undef SPATIALMAMBA_SELECTIVE_SCAN_TOGGLE
#else
#define SPATIALMAMBA_SELECTIVE_SCAN_TOGGLE
#endif

#include <algorithm>

#include "kernels/aligned_vector.h"
#include "kernels/scan_partition.h"
#include "kernels/selective_scan.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {

/// A = -exp(A_log) of the channels of an item.
template <typename T>
AlignedVector<T> decay_rates(const ScanInput<T>& in, RowRange channels) {
  AlignedVector<T> rates(static_cast<std::size_t>(channels.end - channels.begin));
  for_vectors<T>(channels.begin, channels.end, [&](auto d, std::int64_t c) HWY_ATTR {
    hn::StoreU(hn::Neg(exp_full(d, hn::LoadU(d, in.a_log + c))), d, rates.data() + (c - channels.begin));
  });
  return rates;
}

/// Time steps before bias and softplus for the tokens of a tile: those of the caller, or made here.
template <typename T>
class DeltaTiles {
 public:
  /// projection: dt_weight transposed, [R][E]; unused when in.delta is given.
  DeltaTiles(const ScanInput<T>& in, const T* projection, RowRange channels)
      : in_(in), projection_(projection), channels_(channels) {
    if (in.delta == nullptr) {
      stride_ = channels.end - channels.begin;
      tile_.resize(static_cast<std::size_t>(kScanTile * stride_));
    } else {
      stride_ = in.channels;
    }
  }

  std::int64_t stride() const { return stride_; }

  /// Row i is token `token + i`; element 0 is the first channel of the item.
  const T* at(std::int64_t token, std::int64_t count) {
    if (in_.delta != nullptr) return in_.delta + token * in_.channels + channels_.begin;
    project(token, count);
    return tile_.data();
  }

 private:
  void project(std::int64_t token, std::int64_t count) {
    const T* rows[kScanTile];
    for (std::int64_t i = 0; i < kScanTile; ++i) {
      rows[i] = in_.dt_lowrank + (token + std::min(i, count - 1)) * in_.dt_stride;
    }
    for_vectors<T>(channels_.begin, channels_.end, [&](auto d, std::int64_t c) HWY_ATTR {
      hn::Vec<decltype(d)> sums[kScanTile];
      for (auto& sum : sums) sum = hn::Zero(d);
      for (std::int64_t r = 0; r < in_.dt_rank; ++r) {
        const auto w = hn::LoadU(d, projection_ + r * in_.channels + c);
        for (std::int64_t i = 0; i < kScanTile; ++i) sums[i] = hn::MulAdd(w, hn::Set(d, rows[i][r]), sums[i]);
      }
      T* out = tile_.data() + (c - channels_.begin);
      for (std::int64_t i = 0; i < kScanTile; ++i) hn::StoreU(sums[i], d, out + i * stride_);
    });
  }

  const ScanInput<T>& in_;
  const T* projection_;
  RowRange channels_;
  std::int64_t stride_;
  AlignedVector<T> tile_;
};

}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
