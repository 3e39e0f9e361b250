#pragma once

#include <cstddef>
#include <string_view>

#include "engine/executor.h"
#include "engine/map.h"
#include "engine/network.h"
#include "engine/patches.h"

namespace spatialmamba::engine {

/// A dense 3x3 convolution as one linear layer of patches.
void convolve_patches(const Executor& run, std::string_view part, const PackedLinear& layer,
                      const ConvInput& input, const kernels::LinearOutput& output);

/// A map's place among those that a SlicedConvolution reads.
struct SlicedPart {
  std::size_t index = 0;
  std::size_t count = 1;
};

/// Adds what the convolution makes of one of its maps to out (N, H, W, outputs), which the first map's part
/// overwrites; the activation stands behind the last.
void convolve(const Executor& run, std::string_view name, const SlicedConvolution& convolution,
              const SlicedPart& part, const Map& map, kernels::GemmActivation activation, float* out);

}  // namespace spatialmamba::engine
