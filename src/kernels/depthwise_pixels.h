#pragma once

#include <cstdint>

#include "kernels/channel_blocks.h"
#include "kernels/depthwise.h"
#include "kernels/isa.h"
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

}  // namespace spatialmamba::kernels
