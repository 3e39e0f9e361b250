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

/// out (N, H, W, outputs) of a map (N, H, W, C), which it may not overlap; then the rectifier where `relu`.
void convolve(const Executor& run, std::string_view name, const TileConvolution& convolution, const Map& map,
              bool relu, float* out);

/// A linear layer and where it leaves its outputs, one row for each pixel.
struct PixelLayer {
  const PackedLinear* layer;
  float* out;
};

/// The same with the rectifier, of which nothing is kept but what some linear layers make of it.
void convolve_into(const Executor& run, std::string_view name, const TileConvolution& convolution,
                   const Map& map, std::span<const PixelLayer> layers);

}  // namespace spatialmamba::engine
