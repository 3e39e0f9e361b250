#pragma once

#include <torch/torch.h>

#include "kernels/depthwise.h"
#include "nn/compute.h"

namespace spatialmamba::nn {

struct DepthwiseOptions {
  std::int64_t stride = 1;
  kernels::Activation activation = kernels::Activation::none;
  bool residual = false;  ///< adds x to the result
};

/// Depthwise 3x3 convolution with zero padding 1: x (N, H, W, C), weight (C, 1, 3, 3), bias (C)
/// -> activation(conv(x) + bias) [+ x], (N, ceil(H/stride), ceil(W/stride), C).
torch::Tensor depthwise_conv(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                             const DepthwiseOptions& options, const ComputePtr& compute);

}  // namespace spatialmamba::nn
