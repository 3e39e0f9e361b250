#pragma once

#include <span>
#include <string_view>

#include "engine/executor.h"
#include "engine/map.h"
#include "engine/network.h"
#include "engine/patches.h"

namespace spatialmamba::engine {

/// A dense 3x3 convolution as one linear layer of patches.
void convolve_patches(const Executor& run, std::string_view part, const PackedLinear& layer,
                      const ConvInput& input, const kernels::LinearOutput& output);

/// What becomes of a convolution's outputs (N, H, W, outputs), which may not overlap its map.
struct ConvolutionOutput {
  float* data;
  bool relu = false;
  const float* residual = nullptr;  ///< laid out like them, added behind the rectifier; nullptr: none
};

/// Of a map (N, H, W, C).
void convolve(const Executor& run, std::string_view name, const TileConvolution& convolution, const Map& map,
              const ConvolutionOutput& output);

/// A linear layer and where it leaves its outputs, one row for each pixel.
struct PixelLayer {
  const PackedLinear* layer;
  float* out;
};

/// The same with the rectifier, of which nothing is kept but what some linear layers make of it.
void convolve_into(const Executor& run, std::string_view name, const TileConvolution& convolution,
                   const Map& map, std::span<const PixelLayer> layers);

}  // namespace spatialmamba::engine
