#pragma once

#include <cstdint>

#include "nn/spatial_mamba.h"

namespace spatialmamba::nn {

/// Fills parameters and buffers as the reference does when it builds a model; equal seeds give equal weights.
///   Linear weights: normal, std 0.02, cut at +-2; biases 0. Convolutions and x_proj: uniform
///   +-1/sqrt(fan_in), so are the convolutions' biases. dt projection: uniform +-R^-1/2; its bias: inverse
///   softplus of a time step drawn log-uniformly from [0.001, 0.1]. A_logs 0, Ds 1, fusion kernels and
///   alpha 1. Norms: 1 and 0.
void initialise(SpatialMambaImpl& model, std::uint64_t seed);

/// The head alone (for another number of classes).
void initialise_head(SpatialMambaImpl& model, std::uint64_t seed);

}  // namespace spatialmamba::nn
