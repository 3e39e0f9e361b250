#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "engine/executor.h"
#include "engine/map.h"
#include "engine/network.h"

namespace spatialmamba::engine {

/// A map, and the convolution of it at the size of the result.
struct UpsampledInput {
  const UpsampledConvolution* convolution;
  Map map;
};

/// Most inputs that are added together.
inline constexpr std::size_t kMostUpsampled = kMaxStages;

/// Floats of memory that convolve_upsampled() works in.
std::int64_t upsampled_memory(std::span<const UpsampledInput> inputs);

/// out (N, H, W, C) += the convolutions of the inputs, each brought to H x W by bilinear resizing; then the
/// rectifier where `relu`. All inputs and the result hold N images; `shape` is the result's.
void convolve_upsampled(const Executor& run, std::string_view name, std::span<const UpsampledInput> inputs,
                        const MapShape& shape, bool relu, float* memory, float* out);

}  // namespace spatialmamba::engine
