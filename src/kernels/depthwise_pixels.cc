#include "kernels/depthwise_pixels.h"

#include <algorithm>

#include "kernels/packed_plane.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/depthwise_pixels.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/fast_math-inl.h"
#include "kernels/stencil_rows-inl.h"

#ifndef SPATIALMAMBA_KERNELS_DEPTHWISE_PIXELS_SHARED
#define SPATIALMAMBA_KERNELS_DEPTHWISE_PIXELS_SHARED
namespace spatialmamba::kernels {
namespace {

/// Some pixels of one row of the output.
struct RowPart {
  const float* x;  // the image
  std::int64_t height;
  std::int64_t width;
  std::int64_t row;  // of the output
  RowRange columns;
  float* y;
};

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

template <Activation kActivation, class D>
HWY_INLINE hn::Vec<D> activate(D d, hn::Vec<D> v) {
  if constexpr (kActivation == Activation::silu) return fast_silu(d, v);
  if constexpr (kActivation == Activation::relu) return hn::Max(hn::Zero(d), v);  // NaN stays NaN
  return v;
}

// Adds one row of the kernel to kStencilBlock neighbouring outputs; `first` is the input column left of the
// block. Where the block reaches a border (kBorder), columns beyond it count as zeros.
template <int kStride, bool kBorder, class D>
HWY_INLINE void add_kernel_row(D d, const float* row, std::int64_t channels, std::int64_t first,
                               std::int64_t width, const float* taps, BlockSums<D>& sums) {
  const auto left = hn::LoadU(d, taps);
  const auto centre = hn::LoadU(d, taps + kBlockChannels);
  const auto right = hn::LoadU(d, taps + 2 * kBlockChannels);
  constexpr int kColumns = (kStencilBlock - 1) * kStride + 3;
#pragma GCC unroll 24
  for (int i = 0; i < kColumns; ++i) {
    const std::int64_t column = first + i;
    if (kBorder && (column < 0 || column >= width)) continue;
    const auto v = hn::LoadU(d, row + column * channels);
    // Column i meets output (i - tap) / stride through the taps that divide.
    if (i % kStride == 0 && i / kStride < kStencilBlock) {
      sums.at[i / kStride] = hn::MulAdd(v, left, sums.at[i / kStride]);
    }
    if (i >= 1 && (i - 1) % kStride == 0 && (i - 1) / kStride < kStencilBlock) {
      sums.at[(i - 1) / kStride] = hn::MulAdd(v, centre, sums.at[(i - 1) / kStride]);
    }
    if (i >= 2 && (i - 2) % kStride == 0) {
      sums.at[(i - 2) / kStride] = hn::MulAdd(v, right, sums.at[(i - 2) / kStride]);
    }
  }
}

template <int kStride, bool kBorder, class D>
HWY_INLINE BlockSums<D> convolve_block(D d, const DepthwiseWeights& w, const RowPart& part, std::int64_t c,
                                       std::int64_t x0, hn::Vec<D> bias) {
  BlockSums<D> sums;
  sums.clear(d, bias);
  for (std::int64_t ky = 0; ky < 3; ++ky) {
    const std::int64_t y = part.row * kStride + ky - 1;
    if (y < 0 || y >= part.height) continue;
    add_kernel_row<kStride, kBorder>(d, part.x + y * part.width * w.channels + c, w.channels,
                                     x0 * kStride - 1, part.width, w.taps.at(3 * ky, c), sums);
  }
  return sums;
}

template <int kStride, Activation kActivation>
void convolve_part(const DepthwiseWeights& w, const RowPart& part) {
  for_vectors<float>(0, w.channels, [&](auto d, std::int64_t c) HWY_ATTR {
    const auto bias = hn::LoadU(d, w.bias.data() + c);
    float* out = part.y + c;
    for (std::int64_t x0 = part.columns.begin; x0 < part.columns.end; x0 += kStencilBlock) {
      const std::int64_t last = (x0 + kStencilBlock - 1) * kStride + 1;
      const auto sums = x0 == 0 || last >= part.width
                            ? convolve_block<kStride, true>(d, w, part, c, x0, bias)
                            : convolve_block<kStride, false>(d, w, part, c, x0, bias);
      store_block(sums, x0, part.columns.end, [&](std::int64_t x, auto sum) HWY_ATTR {
        hn::StoreU(activate<kActivation>(d, sum), d, out + (x - part.columns.begin) * w.channels);
      });
    }
  });
}

template <int kStride>
void convolve(const DepthwiseWeights& w, const RowPart& part) {
  switch (w.activation) {
    case Activation::none:
      return convolve_part<kStride, Activation::none>(w, part);
    case Activation::silu:
      return convolve_part<kStride, Activation::silu>(w, part);
    case Activation::relu:
      return convolve_part<kStride, Activation::relu>(w, part);
  }
}

void convolve_row_part(const DepthwiseWeights& w, const RowPart& part) {
  if (w.stride == 1) {
    convolve<1>(w, part);
  } else {
    convolve<2>(w, part);
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {

void depthwise_pixels(const DepthwiseWeights& weights, const float* x, std::int64_t height,
                      std::int64_t width, RowRange pixels, float* y, Isa isa) {
  const auto convolve = SPATIALMAMBA_CHOOSE(isa, convolve_row_part);
  const std::int64_t out_width = (width - 1) / weights.stride + 1;
  for (std::int64_t pixel = pixels.begin; pixel < pixels.end;) {
    const std::int64_t row = pixel / out_width;
    const std::int64_t column = pixel % out_width;
    const std::int64_t count = std::min(out_width - column, pixels.end - pixel);
    convolve(
        weights,
        {x, height, width, row, {column, column + count}, y + (pixel - pixels.begin) * weights.channels});
    pixel += count;
  }
}

}  // namespace spatialmamba::kernels
#endif
