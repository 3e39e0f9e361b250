// The 25 taps of the state fusion on packed pixels of one vector of channels, compiled per instruction set:
// include after hwy/foreach_target.h and hwy/highway.h.

#if defined(SPATIALMAMBA_SASF_STENCIL_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef SPATIALMAMBA_SASF_STENCIL_TOGGLE
#undef SPATIALMAMBA_SASF_STENCIL_TOGGLE
#else
#define SPATIALMAMBA_SASF_STENCIL_TOGGLE
#endif

#include <algorithm>
#include <cstdint>

#include "hwy/highway.h"
#include "kernels/sasf.h"
#include "kernels/stencil_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// The taps of one vector of channels. Those of a dilation: three above, two beside, three below the centre.
template <class D, typename T>
struct Taps {
  D d;
  const T* taps;
  std::int64_t stride;

  HWY_INLINE hn::Vec<D> operator[](int k) const { return hn::LoadU(d, taps + k * stride); }
  HWY_INLINE hn::Vec<D> above(int dilation, int i) const { return (*this)[1 + 8 * (dilation / 2) + i]; }
  HWY_INLINE hn::Vec<D> beside(int dilation, int i) const { return (*this)[4 + 8 * (dilation / 2) + i]; }
  HWY_INLINE hn::Vec<D> below(int dilation, int i) const { return (*this)[6 + 8 * (dilation / 2) + i]; }
};

/// The packed rows that the fusion of row y reads, from `row_at(y)`, which clamps nothing.
template <typename T>
struct FusionRows {
  const T* centre;
  const T* above[3];  // of each dilation
  const T* below[3];

  template <typename RowAt>
  FusionRows(std::int64_t y, std::int64_t height, const RowAt& row_at) : centre(row_at(y)) {
    for (std::size_t i = 0; i < kSasfDilations.size(); ++i) {
      above[i] = row_at(std::max<std::int64_t>(y - kSasfDilations[i], 0));
      below[i] = row_at(std::min<std::int64_t>(y + kSasfDilations[i], height - 1));
    }
  }
};

template <int kDilation, class D, typename T>
HWY_INLINE void add_dilation(D d, const Taps<D, T>& taps, const FusionRows<T>& rows, std::int64_t at,
                             BlockSums<D>& sums) {
  constexpr int kIndex = kDilation / 2;
  add_row<kDilation>(d, rows.above[kIndex] + at, taps.above(kDilation, 0), taps.above(kDilation, 1),
                     taps.above(kDilation, 2), sums);
  add_sides<kDilation>(d, rows.centre + at, taps.beside(kDilation, 0), taps.beside(kDilation, 1), sums);
  add_row<kDilation>(d, rows.below[kIndex] + at, taps.below(kDilation, 0), taps.below(kDilation, 1),
                     taps.below(kDilation, 2), sums);
}

/// The fusion of a block of pixels from x on.
template <class D, typename T>
HWY_INLINE BlockSums<D> fuse_block(D d, const Taps<D, T>& taps, const FusionRows<T>& rows, std::int64_t x) {
  const std::int64_t at = x * static_cast<std::int64_t>(hn::Lanes(d));
  BlockSums<D> sums = load_block(d, rows.centre + at);
  const auto centre = taps[0];
  for (auto& sum : sums.at) sum = hn::Mul(sum, centre);
  add_dilation<1>(d, taps, rows, at, sums);
  add_dilation<3>(d, taps, rows, at, sums);
  add_dilation<5>(d, taps, rows, at, sums);
  return sums;
}

}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
