#pragma once

#include <torch/torch.h>

#include "nn/compute.h"

namespace spatialmamba::nn {

struct MlpParameters {
  torch::Tensor norm_weight;  ///< (C)
  torch::Tensor norm_bias;    ///< (C)
  torch::Tensor fc1_weight;   ///< (hidden, C)
  torch::Tensor fc1_bias;     ///< (hidden)
  torch::Tensor fc2_weight;   ///< (C, hidden)
  torch::Tensor fc2_bias;     ///< (C)
};

/// The residual branch x + scale · fc2(gelu(fc1(layer_norm(x)))) on x (N, ..., C); scale (N) is one factor
/// per sample, undefined: 1. Keeps x and the values before GELU for backward, nothing else of that size.
torch::Tensor mlp_residual(const torch::Tensor& x, const MlpParameters& parameters,
                           const torch::Tensor& scale, const ComputePtr& compute);

}  // namespace spatialmamba::nn
