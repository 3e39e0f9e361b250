#pragma once

#include <torch/torch.h>

#include "nn/compute.h"

namespace spatialmamba::nn {

/// Layer normalisation over the last dimension of x (..., C).
torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta,
                         const ComputePtr& compute);

/// layer_norm(x) weight^T for weight (K, C): (..., K). The normalised values are formed again in backward.
torch::Tensor norm_linear(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta,
                          const torch::Tensor& weight, const ComputePtr& compute);

}  // namespace spatialmamba::nn
