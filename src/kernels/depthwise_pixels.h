#pragma once

#include <cstdint>

#include "kernels/channel_blocks.h"
#include "kernels/depthwise.h"
#include "kernels/isa.h"
#include "kernels/packed_plane.h"
#include "kernels/partial_sums.h"

namespace spatialmamba::kernels {

/// A depthwise 3x3 convolution with zero padding 1, ready for depthwise_pixels().
struct DepthwiseWeights {
  std::int64_t channels = 0;
  std::int64_t stride = 1;  ///< 1 or 2
  Activation activation = Activation::none;
  ChannelBlocks taps;         ///< 9 numbers a channel, row-major
  AlignedVector<float> bias;  ///< [C]
};

/// activation(conv(x) + bias) for some pixels of one image x [H, W, C], dense: those of the output
/// [ceil(H / stride), ceil(W / stride), C] that are numbered [pixels.begin, pixels.end) in row-major order. y
/// holds these pixels alone and must not overlap x. A part of a larger computation, so one thread does it.
void depthwise_pixels(const DepthwiseWeights& weights, const float* x, std::int64_t height,
                      std::int64_t width, RowRange pixels, float* y, Isa isa);

/// Pixels that depthwise_row() may read, and nothing more, behind those that it needs.
inline constexpr std::int64_t kDepthwiseSlack = 2 * kStencilBlock;

/// `count` neighbouring outputs of some channels, whose inputs are all there: y [count][channels] from the
/// kernel's rows x, x + row_pixels pixels, ..., each beginning left of the first output's centre. x holds
/// these channels alone; channels.begin is a multiple of kBlockChannels. One thread.
void depthwise_row(const DepthwiseWeights& weights, RowRange channels, const float* x,
                   std::int64_t row_pixels, std::int64_t count, float* y, Isa isa);

}  // namespace spatialmamba::kernels
