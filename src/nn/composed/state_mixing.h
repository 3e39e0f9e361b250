#pragma once

#include <torch/torch.h>

#include "nn/functions/state_mixing.h"

namespace spatialmamba::nn::composed {

/// state_mixing() of nn/functions, made of LibTorch's operators alone. xz may lie on any device.
torch::Tensor state_mixing(const torch::Tensor& xz, const StateMixingParameters& parameters,
                           const Compute& compute, FusionStates* states);

}  // namespace spatialmamba::nn::composed
