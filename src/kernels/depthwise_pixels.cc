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

/// Rows that the kernel covers.
constexpr std::int64_t kKernelRows = 3;

/// Pixels of a packed row: one of zeros, the row, and zeros as far as the last block of outputs reaches.
constexpr std::int64_t packed_row_pixels(std::int64_t width, std::int64_t stride) {
  const std::int64_t out_width = (width - 1) / stride + 1;
  return std::max(width + 1, (out_width + kStencilBlock - 1) * stride + 2);
}

/// One image, the output pixels that are asked for, and the latest rows of one vector of channels, packed: as
/// they lie in the image, a multiple of the page size apart, they would push each other out of the
/// first-level cache.
struct PixelJob {
  const float* x;
  std::int64_t height;
  std::int64_t width;
  RowRange pixels;
  float* y;
  float* memory;
  std::int64_t row_pixels;

  float* row(std::int64_t at, std::int64_t lanes) const {
    return memory +
           static_cast<std::uint32_t>(at) % static_cast<std::uint32_t>(kKernelRows) * row_pixels * lanes;
  }
};

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

template <Activation kActivation, class D>
HWY_INLINE void activate(D d, BlockSums<D>& sums) {
  if constexpr (kActivation == Activation::silu) {
    Group<D, kStencilBlock> group;
    group.each([&](int i) HWY_ATTR { return sums.at[i]; });
    group = fast_silu(d, group);
#pragma GCC unroll 8
    for (int i = 0; i < kStencilBlock; ++i) sums.at[i] = group.at[i];
  }
  if constexpr (kActivation == Activation::relu) {
    for (auto& sum : sums.at) sum = relu(d, sum);
  }
}

// Adds a row of the kernel to kStencilBlock neighbouring outputs of a convolution by steps of two; `in` is
// the input left of the first output's centre.
template <class D>
HWY_INLINE void add_row_by_two(D d, const float* in, hn::Vec<D> left, hn::Vec<D> centre, hn::Vec<D> right,
                               BlockSums<D>& sums) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  auto v = hn::LoadU(d, in);
#pragma GCC unroll 24
  for (int x = 0; x < kStencilBlock; ++x) {
    sums.at[x] = hn::MulAdd(v, left, sums.at[x]);
    sums.at[x] = hn::MulAdd(hn::LoadU(d, in + (2 * x + 1) * lanes), centre, sums.at[x]);
    v = hn::LoadU(d, in + (2 * x + 2) * lanes);
    sums.at[x] = hn::MulAdd(v, right, sums.at[x]);
  }
}

// Packs row y of one vector of channels with zeros on both sides.
template <class D>
HWY_INLINE void pack_input_row(D d, const PixelJob& job, const float* x, std::int64_t channels,
                               std::int64_t y) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  float* row = job.row(y, lanes);
  const float* from = x + y * job.width * channels;
  hn::StoreU(hn::Zero(d), d, row);
  for (std::int64_t i = 0; i < job.width; ++i) {
    hn::StoreU(hn::LoadU(d, from + i * channels), d, row + (i + 1) * lanes);
  }
  for (std::int64_t i = job.width + 1; i < job.row_pixels; ++i) hn::StoreU(hn::Zero(d), d, row + i * lanes);
}

// Row oy of the outputs of one vector of channels, some columns of it, from the packed rows.
template <int kStride, Activation kActivation, class D>
HWY_INLINE void convolve_row(D d, const DepthwiseWeights& w, const PixelJob& job, std::int64_t c,
                             std::int64_t oy, RowRange columns, float* out) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto bias = hn::LoadU(d, w.bias.data() + c);
  const std::int64_t first = std::max<std::int64_t>(oy * kStride - 1, 0);
  const std::int64_t last = std::min(oy * kStride + 1, job.height - 1);
  for (std::int64_t x0 = columns.begin; x0 < columns.end; x0 += kStencilBlock) {
    BlockSums<D> sums;
    sums.clear(d, bias);
    for (std::int64_t y = first; y <= last; ++y) {
      const float* taps = w.taps.at(3 * (y - oy * kStride + 1), c);
      const auto left = hn::LoadU(d, taps);
      const auto centre = hn::LoadU(d, taps + kBlockChannels);
      const auto right = hn::LoadU(d, taps + 2 * kBlockChannels);
      const float* in = job.row(y, lanes) + x0 * kStride * lanes;
      if constexpr (kStride == 1) {
        add_row<1>(d, in + lanes, left, centre, right, sums);
      } else {
        add_row_by_two(d, in, left, centre, right, sums);
      }
    }
    activate<kActivation>(d, sums);
    store_block(sums, x0, columns.end, [&](std::int64_t x, auto sum) HWY_ATTR {
      hn::StoreU(sum, d, out + (x - columns.begin) * w.channels);
    });
  }
}

template <int kStride, Activation kActivation>
void convolve_as(const DepthwiseWeights& w, const PixelJob& job) {
  const std::int64_t out_width = (job.width - 1) / kStride + 1;
  for_vectors<float>(0, w.channels, [&](auto d, std::int64_t c) HWY_ATTR {
    float* y = job.y + c;
    std::int64_t row = job.pixels.begin / out_width;
    std::int64_t column = job.pixels.begin % out_width;
    std::int64_t packed = std::max<std::int64_t>(row * kStride - 1, 0);  // the next row to be packed
    for (std::int64_t left = job.pixels.end - job.pixels.begin; left > 0; ++row) {
      for (; packed <= std::min(row * kStride + 1, job.height - 1); ++packed) {
        pack_input_row(d, job, job.x + c, w.channels, packed);
      }
      const std::int64_t count = std::min(out_width - column, left);
      convolve_row<kStride, kActivation>(d, w, job, c, row, {column, column + count}, y);
      y += count * w.channels;
      left -= count;
      column = 0;
    }
  });
}

template <int kStride>
void convolve_by(const DepthwiseWeights& w, const PixelJob& job) {
  switch (w.activation) {
    case Activation::none:
      return convolve_as<kStride, Activation::none>(w, job);
    case Activation::silu:
      return convolve_as<kStride, Activation::silu>(w, job);
    case Activation::relu:
      return convolve_as<kStride, Activation::relu>(w, job);
  }
}

void convolve(const DepthwiseWeights& w, const PixelJob& job) {
  if (w.stride == 1) {
    convolve_by<1>(w, job);
  } else {
    convolve_by<2>(w, job);
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {

std::int64_t depthwise_memory(std::int64_t width, std::int64_t stride) {
  return kKernelRows * packed_row_pixels(width, stride) * kBlockChannels;
}

void depthwise_pixels(const DepthwiseWeights& weights, const float* x, std::int64_t height,
                      std::int64_t width, RowRange pixels, float* y, float* memory, Isa isa) {
  SPATIALMAMBA_CHOOSE(isa, convolve)
  (weights, {x, height, width, pixels, y, memory, packed_row_pixels(width, weights.stride)});
}

}  // namespace spatialmamba::kernels
#endif
