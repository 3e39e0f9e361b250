#pragma once

#include <cstdint>
#include <vector>

#include "spatialmamba/architecture.h"
#include "spatialmamba/tensor.h"

namespace spatialmamba {

/// A state dictionary of untrained weights, drawn as the reference does when it builds a model; equal seeds
/// give equal weights.
///   Linear weights: normal, std 0.02, cut at +-2; biases 0. Convolutions and x_proj: uniform
///   +-1/sqrt(fan_in), so are the convolutions' biases. dt projection: uniform +-R^-1/2; its bias: inverse
///   softplus of a time step drawn log-uniformly from [0.001, 0.1]. A_logs 0, Ds 1, fusion kernels and
///   alpha 1. Norms: 1 and 0.
TensorMap initial_weights(const Architecture& architecture, std::uint64_t seed);
/// The same rules for the tensors of any network: enough to see it run.
TensorMap initial_weights(const std::vector<TensorSpec>& specs, std::uint64_t seed);

}  // namespace spatialmamba
