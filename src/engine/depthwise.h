#pragma once

#include <cstdint>

#include "engine/map.h"
#include "kernels/depthwise_pixels.h"

namespace spatialmamba::engine {

inline double depthwise_flops(const kernels::DepthwiseWeights& conv, std::int64_t outputs) {
  return 18.0 * static_cast<double>(conv.channels * outputs);
}

/// Some pixels of a depthwise convolution, counted over all images; `y` holds these alone. One thread.
void convolve_pixels(const kernels::DepthwiseWeights& conv, const Map& map, kernels::RowRange pixels,
                     float* y, kernels::Isa isa);

}  // namespace spatialmamba::engine
