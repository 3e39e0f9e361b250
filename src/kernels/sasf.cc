#include "kernels/sasf.h"

#include <algorithm>

#include "kernels/aligned_vector.h"
#include "kernels/packed_plane.h"
#include "kernels/partial_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sasf.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/sasf_stencil-inl.h"
#include "kernels/vector_math-inl.h"

#ifndef SPATIALMAMBA_KERNELS_SASF_SHARED
#define SPATIALMAMBA_KERNELS_SASF_SHARED
namespace spatialmamba::kernels {
namespace {

constexpr std::int64_t kMostLanes = 16;  // of any vector

/// A block of channels of one image.
struct SasfItem {
  std::int64_t image;
  RowRange channels;
};

/// Memory that the items of one thread use in turn.
template <typename T>
struct SasfScratch {
  PackedPlane<T> states;
  PackedPlane<T> gradient;
  /// Sums of the first and of the last 1, 3, 5 pixels of every row of `gradient`.
  AlignedVector<T> edges;
  /// dC of every pixel, one sum a lane.
  AlignedVector<T> dc;

  SasfScratch(const SasfInput<T>& in, bool backward)
      : states(in.height, in.width, kSasfReach), gradient(backward ? in.height : 0, in.width, kSasfReach) {
    if (backward) edges.resize(static_cast<std::size_t>(in.height * 6 * kMostLanes));
    if (backward && in.c != nullptr) dc.resize(static_cast<std::size_t>(in.height * in.width * kMostLanes));
  }
};

/// Where an item adds its share of the gradients that are sums.
template <typename T>
struct SasfSums {
  T* dtaps;  ///< [25][C] of the item's image
  T* dd;     ///< [C] of the item's image
  T* dc;     ///< [N, H, W] of the item's channel block
};

/// The rows that an offset of a tap moves to row p, once the result is clamped to [0, size): p - offset
/// inside, and at a border all that the clamp brings there.
inline RowRange reaching(std::int64_t p, std::int64_t offset, std::int64_t size) {
  const std::int64_t begin = p == 0 ? 0 : p - offset;
  const std::int64_t end = p == size - 1 ? size : p - offset + 1;
  return {std::max<std::int64_t>(begin, 0), std::min(end, size)};
}

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

template <typename T>
HWY_INLINE FusionRows<T> rows_around(std::int64_t y, std::int64_t lanes, PackedPlane<T>& states) {
  return {y, states.height(), [&](std::int64_t row) { return states.row(row, lanes); }};
}

template <class D, typename T>
HWY_INLINE void pack_states(D d, const SasfInput<T>& in, std::int64_t image, std::int64_t c,
                            PackedPlane<T>& states) {
  const T* h = in.h + image * in.height * in.width * in.channels + c;
  pack_plane(d, h, in.channels, states, Border::replicate);
}

template <typename T>
void fuse_item(const SasfInput<T>& in, const SasfItem& item, SasfScratch<T>& scratch, T* out) {
  const std::int64_t first = item.image * in.height * in.width;
  for_vectors<T>(item.channels.begin, item.channels.end, [&](auto d, std::int64_t c) HWY_ATTR {
    pack_states(d, in, item.image, c, scratch.states);
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    const Taps<decltype(d), T> taps{d, in.taps + c, in.channels};
    for (std::int64_t y = 0; y < in.height; ++y) {
      const FusionRows<T> rows = rows_around(y, lanes, scratch.states);
      for (std::int64_t x0 = 0; x0 < in.width; x0 += kStencilBlock) {
        const auto sums = fuse_block(d, taps, rows, x0);
        store_block(sums, x0, in.width, [&](std::int64_t x, auto s) HWY_ATTR {
          const std::int64_t token = first + y * in.width + x;
          auto value = s;
          if (in.c != nullptr) {
            const auto skip = hn::Mul(hn::LoadU(d, in.d + c), hn::LoadU(d, in.x + token * in.x_stride + c));
            value = hn::MulAdd(s, hn::Set(d, in.c[token * in.c_stride]), skip);
          }
          hn::StoreU(value, d, out + token * in.channels + c);
        });
      }
    }
  });
}

// Packs the gradient of the states that were fused: dout, times C_t with the output equation, whose other
// gradients but dC are made here. Then the sums at the edges of the rows.
template <class D, typename T>
HWY_INLINE void pack_gradient(D d, const SasfInput<T>& in, const SasfGradient<T>& grad, std::int64_t image,
                              std::int64_t c, SasfScratch<T>& scratch, T* dd) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t first = image * in.height * in.width;
  PackedPlane<T>& plane = scratch.gradient;
  auto dd_sum = hn::Zero(d);
  const auto skip = in.c == nullptr ? hn::Zero(d) : hn::LoadU(d, in.d + c);
  pack_plane(d, grad.dout + first * in.channels + c, in.channels, plane, Border::zero,
             [&](std::int64_t pixel, auto dy) HWY_ATTR {
               if (in.c == nullptr) return dy;
               const std::int64_t token = first + pixel;
               dd_sum = hn::MulAdd(dy, hn::LoadU(d, in.x + token * in.x_stride + c), dd_sum);
               hn::StoreU(hn::Mul(dy, skip), d, grad.dx + token * grad.dx_stride + c);
               return hn::Mul(dy, hn::Set(d, in.c[token * in.c_stride]));
             });
  if (in.c != nullptr) hn::StoreU(dd_sum, d, dd + c);
  for (std::int64_t y = 0; y < in.height; ++y) {
    const T* row = plane.row(y, lanes);
    T* edges = scratch.edges.data() + y * 6 * lanes;
    auto left = hn::Zero(d);
    auto right = hn::Zero(d);
    for (std::int64_t x = 0; x < kSasfReach; ++x) {
      if (x < in.width) {
        left = hn::Add(left, hn::LoadU(d, row + x * lanes));
        right = hn::Add(right, hn::LoadU(d, row + (in.width - 1 - x) * lanes));
      }
      if (x % 2 == 0) {
        hn::StoreU(left, d, edges + x * lanes);
        hn::StoreU(right, d, edges + (x + 1) * lanes);
      }
    }
  }
}

// What the clamp brings to the first and to the last column beyond the plain transpose.
template <class D>
struct EdgeSums {
  hn::Vec<D> left;
  hn::Vec<D> right;
};

template <class D, typename T>
HWY_INLINE void add_edges(D d, const T* edges, int dilation, hn::Vec<D> left, hn::Vec<D> right,
                          EdgeSums<D>& sums) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  sums.left = hn::MulAdd(left, hn::LoadU(d, edges + (dilation - 1) * lanes), sums.left);
  sums.right = hn::MulAdd(right, hn::LoadU(d, edges + dilation * lanes), sums.right);
}

template <int kDilation, class D, typename T>
HWY_INLINE void add_transposed(D d, const Taps<D, T>& taps, PackedPlane<T>& gradient, std::int64_t y,
                               std::int64_t at, BlockSums<D>& sums) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const RowRange from_above = reaching(y, -kDilation, gradient.height());
  for (std::int64_t q = from_above.begin; q < from_above.end; ++q) {
    add_row<kDilation>(d, gradient.row(q, lanes) + at, taps.above(kDilation, 2), taps.above(kDilation, 1),
                       taps.above(kDilation, 0), sums);
  }
  add_sides<kDilation>(d, gradient.row(y, lanes) + at, taps.beside(kDilation, 1), taps.beside(kDilation, 0),
                       sums);
  const RowRange from_below = reaching(y, kDilation, gradient.height());
  for (std::int64_t q = from_below.begin; q < from_below.end; ++q) {
    add_row<kDilation>(d, gradient.row(q, lanes) + at, taps.below(kDilation, 2), taps.below(kDilation, 1),
                       taps.below(kDilation, 0), sums);
  }
}

template <class D, typename T>
HWY_INLINE EdgeSums<D> edges_of_row(D d, const Taps<D, T>& taps, const SasfScratch<T>& scratch,
                                    std::int64_t height, std::int64_t y) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  EdgeSums<D> sums{hn::Zero(d), hn::Zero(d)};
  for (const int dilation : kSasfDilations) {
    const RowRange from_above = reaching(y, -dilation, height);
    for (std::int64_t q = from_above.begin; q < from_above.end; ++q) {
      add_edges(d, scratch.edges.data() + q * 6 * lanes, dilation, taps.above(dilation, 0),
                taps.above(dilation, 2), sums);
    }
    add_edges(d, scratch.edges.data() + y * 6 * lanes, dilation, taps.beside(dilation, 0),
              taps.beside(dilation, 1), sums);
    const RowRange from_below = reaching(y, dilation, height);
    for (std::int64_t q = from_below.begin; q < from_below.end; ++q) {
      add_edges(d, scratch.edges.data() + q * 6 * lanes, dilation, taps.below(dilation, 0),
                taps.below(dilation, 2), sums);
    }
  }
  return sums;
}

// dh of one row of one vector of channels.
template <class D, typename T>
HWY_INLINE void differentiate_states_row(D d, const Taps<D, T>& taps, SasfScratch<T>& scratch, std::int64_t y,
                                         std::int64_t channels, T* dh) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  PackedPlane<T>& gradient = scratch.gradient;
  const std::int64_t width = gradient.width();
  for (std::int64_t x0 = 0; x0 < width; x0 += kStencilBlock) {
    BlockSums<D> sums = load_block(d, gradient.row(y, lanes) + x0 * lanes);
    const auto centre = taps[0];
    for (auto& sum : sums.at) sum = hn::Mul(sum, centre);
    add_transposed<1>(d, taps, gradient, y, x0 * lanes, sums);
    add_transposed<3>(d, taps, gradient, y, x0 * lanes, sums);
    add_transposed<5>(d, taps, gradient, y, x0 * lanes, sums);
    store_block(sums, x0, width,
                [&](std::int64_t x, auto v) HWY_ATTR { hn::StoreU(v, d, dh + x * channels); });
  }
  const EdgeSums<D> edges = edges_of_row(d, taps, scratch, gradient.height(), y);
  hn::StoreU(hn::Add(hn::LoadU(d, dh), edges.left), d, dh);
  T* last = dh + (width - 1) * channels;
  hn::StoreU(hn::Add(hn::LoadU(d, last), edges.right), d, last);
}

// dtaps of one dilation, over the whole image: the sum over all pixels of gradient · state at the tap.
template <int kDilation, class D, typename T>
HWY_INLINE void differentiate_taps(D d, SasfScratch<T>& scratch, std::int64_t stride, T* dtaps) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  PackedPlane<T>& states = scratch.states;
  hn::Vec<D> sums[9];
  for (auto& sum : sums) sum = hn::Zero(d);
  for (std::int64_t y = 0; y < states.height(); ++y) {
    const T* above = states.row(std::max<std::int64_t>(y - kDilation, 0), lanes);
    const T* beside = states.row(y, lanes);
    const T* below = states.row(std::min<std::int64_t>(y + kDilation, states.height() - 1), lanes);
    const T* gradient = scratch.gradient.row(y, lanes);
    for (std::int64_t x = 0; x < states.width(); x += kStencilBlock) {
      const BlockSums<D> g = load_block(d, gradient + x * lanes);
      add_products<kDilation>(d, g, above + x * lanes, sums[0], sums[1], sums[2]);
      add_products<kDilation>(d, g, beside + x * lanes, sums[3], sums[4], sums[5]);
      add_products<kDilation>(d, g, below + x * lanes, sums[6], sums[7], sums[8]);
    }
  }
  T* own = dtaps + (1 + 8 * (kDilation / 2)) * stride;
  for (int i = 0; i < 9; ++i) {
    if (i == 4) continue;
    hn::StoreU(sums[i], d, own);
    own += stride;
  }
  // The same for every dilation.
  hn::StoreU(sums[4], d, dtaps);
}

// Adds dout · s of one vector of channels to the lanes of scratch.dc, with s computed again.
template <class D, typename T>
HWY_INLINE void add_to_dc(D d, const Taps<D, T>& taps, const SasfInput<T>& in, const T* dout,
                          SasfScratch<T>& scratch) {
  for (std::int64_t y = 0; y < in.height; ++y) {
    const FusionRows<T> rows = rows_around(y, static_cast<std::int64_t>(hn::Lanes(d)), scratch.states);
    for (std::int64_t x0 = 0; x0 < in.width; x0 += kStencilBlock) {
      const auto sums = fuse_block(d, taps, rows, x0);
      store_block(sums, x0, in.width, [&](std::int64_t x, auto s) HWY_ATTR {
        const std::int64_t pixel = y * in.width + x;
        T* lanes = scratch.dc.data() + pixel * kMostLanes;
        hn::StoreU(hn::MulAdd(s, hn::LoadU(d, dout + pixel * in.channels), hn::LoadU(d, lanes)), d, lanes);
      });
    }
  }
}

template <typename T>
void sum_dc(const SasfInput<T>& in, std::int64_t image, const SasfScratch<T>& scratch, T* dc) {
  const hn::ScalableTag<T> d;
  for (std::int64_t i = 0; i < in.height * in.width; ++i) {
    dc[image * in.height * in.width + i] =
        hn::GetLane(hn::SumOfLanes(d, hn::LoadU(d, scratch.dc.data() + i * kMostLanes)));
  }
}

template <typename T>
void differentiate_item(const SasfInput<T>& in, const SasfGradient<T>& grad, const SasfItem& item,
                        SasfScratch<T>& scratch, const SasfSums<T>& sums) {
  const std::int64_t first = item.image * in.height * in.width * in.channels;
  std::fill(scratch.dc.begin(), scratch.dc.end(), T{0});
  for_vectors<T>(item.channels.begin, item.channels.end, [&](auto d, std::int64_t c) HWY_ATTR {
    pack_states(d, in, item.image, c, scratch.states);
    pack_gradient(d, in, grad, item.image, c, scratch, sums.dd);
    const Taps<decltype(d), T> taps{d, in.taps + c, in.channels};
    for (std::int64_t y = 0; y < in.height; ++y) {
      T* dh = grad.dh + first + y * in.width * in.channels + c;
      differentiate_states_row(d, taps, scratch, y, in.channels, dh);
    }
    differentiate_taps<1>(d, scratch, in.channels, sums.dtaps + c);
    differentiate_taps<3>(d, scratch, in.channels, sums.dtaps + c);
    differentiate_taps<5>(d, scratch, in.channels, sums.dtaps + c);
    if (in.c != nullptr) add_to_dc(d, taps, in, grad.dout + first + c, scratch);
  });
  if (in.c != nullptr) sum_dc(in, item.image, scratch, sums.dc);
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

// Calls body(tap, kernel, position) for the 3 x 9 weights that the taps are made of.
template <typename Body>
void for_each_weight(const Body& body) {
  int outer = 1;
  for (std::size_t i = 0; i < kSasfDilations.size(); ++i) {
    for (int position = 0; position < 9; ++position) body(position == 4 ? 0 : outer++, i, position);
  }
}

}  // namespace

template <typename T>
void sasf_merge(std::int64_t channels, const std::array<const T*, 3>& kernels, const T* alpha, T* taps) {
  std::fill_n(taps, kSasfTaps * channels, T{0});
  for_each_weight([&](int tap, std::size_t i, int position) {
    for (std::int64_t c = 0; c < channels; ++c)
      taps[tap * channels + c] += alpha[i] * kernels[i][c * 9 + position];
  });
}

template <typename T>
void sasf_unmerge(std::int64_t channels, const std::array<const T*, 3>& kernels, const T* alpha,
                  const T* dtaps, const std::array<T*, 3>& dkernels, T* dalpha) {
  std::array<double, 3> sums{};
  for_each_weight([&](int tap, std::size_t i, int position) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const T g = dtaps[tap * channels + c];
      dkernels[i][c * 9 + position] = alpha[i] * g;
      sums[i] += static_cast<double>(g) * static_cast<double>(kernels[i][c * 9 + position]);
    }
  });
  for (std::size_t i = 0; i < sums.size(); ++i) dalpha[i] = static_cast<T>(sums[i]);
}

template <typename T>
void sasf_forward(const SasfInput<T>& input, T* out, Isa isa, const ParallelFor& parallel) {
  const auto fuse = SPATIALMAMBA_CHOOSE(isa, fuse_item<T>);
  const ImageBlocks items(input.images, input.channels);
  parallel(items.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    SasfScratch<T> scratch(input, false);
    for (std::int64_t i = begin; i < end; ++i) fuse(input, {items.image(i), items.channels(i)}, scratch, out);
  });
}

template <typename T>
void sasf_backward(const SasfInput<T>& input, const SasfGradient<T>& gradient, Isa isa,
                   const ParallelFor& parallel) {
  const auto differentiate = SPATIALMAMBA_CHOOSE(isa, differentiate_item<T>);
  const ImageBlocks items(input.images, input.channels);
  const std::int64_t tokens = input.images * input.height * input.width;
  PartialSums<T> by_image(input.images, (kSasfTaps + 1) * input.channels);
  PartialSums<T> by_block(input.c == nullptr ? 0 : items.blocks(), tokens);
  parallel(items.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    SasfScratch<T> scratch(input, true);
    for (std::int64_t i = begin; i < end; ++i) {
      T* sums = by_image[items.image(i)];
      differentiate(input, gradient, {items.image(i), items.channels(i)}, scratch,
                    {.dtaps = sums,
                     .dd = sums + kSasfTaps * input.channels,
                     .dc = input.c == nullptr ? nullptr : by_block[items.block(i)]});
    }
  });
  by_image.sum_to(0, kSasfTaps * input.channels, gradient.dtaps);
  if (input.c == nullptr) return;
  by_image.sum_to(kSasfTaps * input.channels, input.channels, gradient.dd);
  parallel(tokens, grain_for(items.blocks()), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t token = begin; token < end; ++token) {
      by_block.sum_to(token, 1, gradient.dc + token * gradient.dc_stride);
    }
  });
}

template void sasf_merge(std::int64_t, const std::array<const float*, 3>&, const float*, float*);
template void sasf_merge(std::int64_t, const std::array<const double*, 3>&, const double*, double*);
template void sasf_unmerge(std::int64_t, const std::array<const float*, 3>&, const float*, const float*,
                           const std::array<float*, 3>&, float*);
template void sasf_unmerge(std::int64_t, const std::array<const double*, 3>&, const double*, const double*,
                           const std::array<double*, 3>&, double*);
template void sasf_forward(const SasfInput<float>&, float*, Isa, const ParallelFor&);
template void sasf_forward(const SasfInput<double>&, double*, Isa, const ParallelFor&);
template void sasf_backward(const SasfInput<float>&, const SasfGradient<float>&, Isa, const ParallelFor&);
template void sasf_backward(const SasfInput<double>&, const SasfGradient<double>&, Isa, const ParallelFor&);

}  // namespace spatialmamba::kernels
#endif
