#include "kernels/depthwise_pixels.h"

#include <algorithm>
#include <array>

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

/// Rows and columns that the kernel covers.
constexpr int kKernelSide = 3;

/// Pixels of a row that a block of outputs reads.
constexpr int block_inputs(int stride) {
  return (kStencilBlock - 1) * stride + kKernelSide;
}

/// One image and the output pixels that are asked for.
struct PixelJob {
  const float* x;
  std::int64_t height;
  std::int64_t width;
  RowRange pixels;
  float* y;
};

/// Neighbouring outputs whose inputs are all there.
struct RowJob {
  RowRange channels;
  const float* x;
  std::int64_t row_pixels;
  std::int64_t count;
  float* y;
};

/// The rows of an image that a row of outputs reads, nullptr beyond the image.
using KernelRows = std::array<const float*, kKernelSide>;

/// The columns that a block of outputs reads where some lie beyond the image: where each begins in a row, or
/// another in its place, and what of its bits counts.
template <int kStride>
struct BorderColumns {
  std::int64_t offsets[block_inputs(kStride)];
  std::uint32_t kept[block_inputs(kStride)];

  BorderColumns(std::int64_t first, std::int64_t width, std::int64_t channels) {
    for (std::int64_t i = 0; i < block_inputs(kStride); ++i) {
      const std::int64_t nearest = std::clamp<std::int64_t>(first + i, 0, width - 1);
      offsets[i] = nearest * channels;
      kept[i] = nearest == first + i ? ~std::uint32_t{0} : 0;
    }
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

// Adds a row of the kernel to the sums of a block; load(i): column i of those that the block reads.
template <int kStride, class D, typename Load>
HWY_INLINE void add_kernel_row(D d, const float* taps, BlockSums<D>& sums, const Load& load) {
  const auto left = hn::LoadU(d, taps);
  const auto centre = hn::LoadU(d, taps + kBlockChannels);
  const auto right = hn::LoadU(d, taps + 2 * kBlockChannels);
  constexpr int kInputs = block_inputs(kStride);
#pragma GCC unroll 24
  for (int i = 0; i < kInputs; ++i) {
    const auto v = load(i);
    const auto add_to = [&](int x, hn::Vec<D> weight) HWY_ATTR {
      const bool there = x % kStride == 0 && x >= 0 && x / kStride < kStencilBlock;
      if (there) sums.at[x / kStride] = hn::MulAdd(v, weight, sums.at[x / kStride]);
    };
    add_to(i - 2, right);
    add_to(i - 1, centre);
    add_to(i, left);
  }
}

// The block of outputs from column x0 on, in some channels; load(d, row, i): column i of a row of these.
template <int kStride, Activation kActivation, typename Load>
HWY_INLINE void convolve_block(const DepthwiseWeights& w, RowRange channels, const KernelRows& rows,
                               std::int64_t x0, std::int64_t end, float* out, const Load& load) {
  const std::int64_t stride = channels.end - channels.begin;
  for_vectors<float>(0, stride, [&](auto d, std::int64_t c) HWY_ATTR {
    BlockSums<decltype(d)> sums;
    sums.clear(d, hn::LoadU(d, w.bias.data() + channels.begin + c));
    for (std::size_t k = 0; k < rows.size(); ++k) {
      if (rows[k] == nullptr) continue;
      const float* row = rows[k] + c;
      add_kernel_row<kStride>(d, w.taps.at(kKernelSide * static_cast<std::int64_t>(k), channels.begin + c),
                              sums, [&](int i) HWY_ATTR { return load(d, row, i); });
    }
    activate<kActivation>(d, sums);
    store_block(sums, x0, end,
                [&](std::int64_t x, auto sum) HWY_ATTR { hn::StoreU(sum, d, out + (x - x0) * stride + c); });
  });
}

// Row oy of the outputs, some columns of it. A block of pixels goes through all channels before the next one,
// so that the image is read in the order in which it lies in memory.
template <int kStride, Activation kActivation>
void convolve_row(const DepthwiseWeights& w, const PixelJob& job, std::int64_t oy, RowRange columns,
                  float* out) {
  KernelRows rows{};
  for (std::int64_t k = 0; k < kKernelSide; ++k) {
    const std::int64_t y = oy * kStride + k - 1;
    const bool inside = y >= 0 && y < job.height;
    rows[static_cast<std::size_t>(k)] = inside ? job.x + y * job.width * w.channels : nullptr;
  }
  for (std::int64_t x0 = columns.begin; x0 < columns.end; x0 += kStencilBlock) {
    float* to = out + (x0 - columns.begin) * w.channels;
    const std::int64_t first = x0 * kStride - 1;
    if (first >= 0 && first + block_inputs(kStride) <= job.width) {
      convolve_block<kStride, kActivation>(w, {0, w.channels}, rows, x0, columns.end, to,
                                           [&](auto d, const float* row, std::int64_t i) HWY_ATTR {
                                             return hn::LoadU(d, row + (first + i) * w.channels);
                                           });
    } else {
      const BorderColumns<kStride> border(first, job.width, w.channels);
      convolve_block<kStride, kActivation>(w, {0, w.channels}, rows, x0, columns.end, to,
                                           [&](auto d, const float* row, std::int64_t i) HWY_ATTR {
                                             const hn::RebindToUnsigned<decltype(d)> du;
                                             return hn::And(hn::LoadU(d, row + border.offsets[i]),
                                                            hn::BitCast(d, hn::Set(du, border.kept[i])));
                                           });
    }
  }
}

template <int kStride, Activation kActivation>
void convolve_as(const DepthwiseWeights& w, const PixelJob& job) {
  const std::int64_t out_width = (job.width - 1) / kStride + 1;
  float* y = job.y;
  for (std::int64_t pixel = job.pixels.begin; pixel < job.pixels.end;) {
    const std::int64_t column = pixel % out_width;
    const std::int64_t count = std::min(out_width - column, job.pixels.end - pixel);
    convolve_row<kStride, kActivation>(w, job, pixel / out_width, {column, column + count}, y);
    y += count * w.channels;
    pixel += count;
  }
}

template <int kStride, Activation kActivation>
void convolve_as(const DepthwiseWeights& w, const RowJob& job) {
  const std::int64_t stride = job.channels.end - job.channels.begin;
  KernelRows rows{};
  for (std::size_t k = 0; k < rows.size(); ++k) {
    rows[k] = job.x + static_cast<std::int64_t>(k) * job.row_pixels * stride;
  }
  for (std::int64_t x0 = 0; x0 < job.count; x0 += kStencilBlock) {
    convolve_block<kStride, kActivation>(w, job.channels, rows, x0, job.count, job.y + x0 * stride,
                                         [&](auto d, const float* row, std::int64_t i) HWY_ATTR {
                                           return hn::LoadU(d, row + (x0 * kStride + i) * stride);
                                         });
  }
}

template <int kStride, typename Job>
void convolve_by(const DepthwiseWeights& w, const Job& job) {
  switch (w.activation) {
    case Activation::none:
      return convolve_as<kStride, Activation::none>(w, job);
    case Activation::silu:
      return convolve_as<kStride, Activation::silu>(w, job);
    case Activation::relu:
      return convolve_as<kStride, Activation::relu>(w, job);
  }
}

template <typename Job>
void convolve(const DepthwiseWeights& w, const Job& job) {
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

void depthwise_pixels(const DepthwiseWeights& weights, const float* x, std::int64_t height,
                      std::int64_t width, RowRange pixels, float* y, Isa isa) {
  SPATIALMAMBA_CHOOSE(isa, convolve<PixelJob>)(weights, {x, height, width, pixels, y});
}

void depthwise_row(const DepthwiseWeights& weights, RowRange channels, const float* x,
                   std::int64_t row_pixels, std::int64_t count, float* y, Isa isa) {
  SPATIALMAMBA_CHOOSE(isa, convolve<RowJob>)(weights, {channels, x, row_pixels, count, y});
}

}  // namespace spatialmamba::kernels
#endif
