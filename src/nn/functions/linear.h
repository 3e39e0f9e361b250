#pragma once

#include <torch/torch.h>

#include "nn/compute.h"

namespace spatialmamba::nn {

/// x weight^T [+ bias] over the last dimension: x (..., C), weight (K, C), or (K, C, 1, 1) of a 1x1
/// convolution, bias (K) or undefined -> (..., K), with negative values set to 0 where `relu`.
torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                     bool relu, const ComputePtr& compute);

/// residual + scale · (x weight^T): residual (N, ..., K), scale (N) one factor per sample, undefined: 1.
torch::Tensor linear_residual(const torch::Tensor& x, const torch::Tensor& weight,
                              const torch::Tensor& residual, const torch::Tensor& scale,
                              const ComputePtr& compute);

}  // namespace spatialmamba::nn
