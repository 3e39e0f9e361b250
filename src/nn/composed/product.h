#pragma once

#include <torch/torch.h>

#include "nn/compute.h"

namespace spatialmamba::nn::composed {

/// x weight^T [+ bias] over the last dimension: x (..., C), weight (K, C) or (K, C, 1, 1), bias (K) or
/// undefined -> (..., K), on any device. With bf16 or fp16 the factors of this product, and of those that
/// make its gradients, are rounded to that type (and kept so for backward), sums formed and returned in
/// float32, as the kernels do; doubles are multiplied in full.
torch::Tensor product(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                      Precision precision);

}  // namespace spatialmamba::nn::composed
