// Stencils over channels-last images, one vector of channels at a time, compiled per instruction set: include
// after hwy/foreach_target.h and hwy/highway.h.
//
// The pixels of one vector of channels are packed side by side with room for the borders: a copy that pays,
// since rows of an image lie a multiple of the page size apart and would push each other out of the
// first-level cache.

#if defined(SPATIALMAMBA_STENCIL_ROWS_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef SPATIALMAMBA_STENCIL_ROWS_TOGGLE
#undef SPATIALMAMBA_STENCIL_ROWS_TOGGLE
#else
#define SPATIALMAMBA_STENCIL_ROWS_TOGGLE
#endif

#include <cstdint>

#include "hwy/highway.h"
#include "kernels/aligned_vector.h"
#include "kernels/packed_plane.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Results of kStencilBlock neighbouring pixels.
template <class D>
struct BlockSums {
  hn::Vec<D> at[kStencilBlock];

  HWY_INLINE void clear(D d, hn::Vec<D> start) {
    (void)d;
    for (auto& sum : at) sum = start;
  }
};

/// Packs a row of pixels `stride` elements apart; transform(x, value) may change it on the way.
template <class D, typename T, typename Transform>
HWY_INLINE void pack_row(D d, const T* from, std::int64_t stride, PackedPlane<T>& plane, std::int64_t y,
                         Border border, const Transform& transform) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  T* row = plane.row(y, lanes);
  for (std::int64_t x = 0; x < plane.width(); ++x) {
    hn::StoreU(transform(x, hn::LoadU(d, from + x * stride)), d, row + x * lanes);
  }
  const auto left = border == Border::zero ? hn::Zero(d) : hn::LoadU(d, row);
  const auto right = border == Border::zero ? hn::Zero(d) : hn::LoadU(d, row + (plane.width() - 1) * lanes);
  for (std::int64_t x = -plane.padding(); x < 0; ++x) hn::StoreU(left, d, row + x * lanes);
  for (std::int64_t x = plane.width(); x < plane.padded_width(); ++x) hn::StoreU(right, d, row + x * lanes);
}

template <class D, typename T, typename Transform>
HWY_INLINE void pack_plane(D d, const T* from, std::int64_t stride, PackedPlane<T>& plane, Border border,
                           const Transform& transform) {
  for (std::int64_t y = 0; y < plane.height(); ++y) {
    pack_row(d, from + y * plane.width() * stride, stride, plane, y, border,
             [&](std::int64_t x, auto v) HWY_ATTR { return transform(y * plane.width() + x, v); });
  }
}

template <class D, typename T>
HWY_INLINE void pack_plane(D d, const T* from, std::int64_t stride, PackedPlane<T>& plane, Border border) {
  pack_plane(d, from, stride, plane, border, [](std::int64_t, auto v) HWY_ATTR { return v; });
}

/// Adds left · in[x - kDilation] + centre · in[x] + right · in[x + kDilation]; `in` is the block's first
/// pixel.
template <int kDilation, class D, typename T>
HWY_INLINE void add_row(D d, const T* in, hn::Vec<D> left, hn::Vec<D> centre, hn::Vec<D> right,
                        BlockSums<D>& sums) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
#pragma GCC unroll 24
  for (int x = -kDilation; x < kStencilBlock + kDilation; ++x) {
    const auto v = hn::LoadU(d, in + x * lanes);
    if (x + kDilation < kStencilBlock) sums.at[x + kDilation] = hn::MulAdd(v, left, sums.at[x + kDilation]);
    if (x >= 0 && x < kStencilBlock) sums.at[x] = hn::MulAdd(v, centre, sums.at[x]);
    if (x >= kDilation) sums.at[x - kDilation] = hn::MulAdd(v, right, sums.at[x - kDilation]);
  }
}

/// The same without the centre.
template <int kDilation, class D, typename T>
HWY_INLINE void add_sides(D d, const T* in, hn::Vec<D> left, hn::Vec<D> right, BlockSums<D>& sums) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
#pragma GCC unroll 24
  for (int x = 0; x < kStencilBlock; ++x) {
    sums.at[x] = hn::MulAdd(hn::LoadU(d, in + (x - kDilation) * lanes), left, sums.at[x]);
    sums.at[x] = hn::MulAdd(hn::LoadU(d, in + (x + kDilation) * lanes), right, sums.at[x]);
  }
}

/// Adds g[x] · in[x + offset] over a block to three sums, for the offsets -kDilation, 0 and kDilation.
template <int kDilation, class D, typename T>
HWY_INLINE void add_products(D d, const BlockSums<D>& g, const T* in, hn::Vec<D>& left, hn::Vec<D>& centre,
                             hn::Vec<D>& right) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
#pragma GCC unroll 24
  for (int x = 0; x < kStencilBlock; ++x) {
    left = hn::MulAdd(g.at[x], hn::LoadU(d, in + (x - kDilation) * lanes), left);
    centre = hn::MulAdd(g.at[x], hn::LoadU(d, in + x * lanes), centre);
    right = hn::MulAdd(g.at[x], hn::LoadU(d, in + (x + kDilation) * lanes), right);
  }
}

template <class D, typename T>
HWY_INLINE BlockSums<D> load_block(D d, const T* in) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  BlockSums<D> block;
#pragma GCC unroll 24
  for (int x = 0; x < kStencilBlock; ++x) block.at[x] = hn::LoadU(d, in + x * lanes);
  return block;
}

/// Calls store(x, value) for the pixels of a block that exist.
template <class D, typename Store>
HWY_INLINE void store_block(const BlockSums<D>& sums, std::int64_t first, std::int64_t width,
                            const Store& store) {
  if (first + kStencilBlock <= width) {
#pragma GCC unroll 24
    for (int x = 0; x < kStencilBlock; ++x) store(first + x, sums.at[x]);
    return;
  }
  // No index into registers that is known only at run time.
#pragma GCC unroll 24
  for (int x = 0; x < kStencilBlock; ++x) {
    if (first + x < width) store(first + x, sums.at[x]);
  }
}

}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
