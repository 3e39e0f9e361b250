#pragma once

#include "nn/functions/depthwise_conv.h"
#include "nn/functions/node.h"

namespace spatialmamba::nn {

/// The depthwise convolution without autograd. x may be a slice of a wider tensor: the first C of its
/// channels, C being those of the weight (C, 1, 3, 3).
torch::Tensor depthwise(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                        const DepthwiseOptions& options, const Compute& compute);

struct DepthwiseGradients {
  torch::Tensor weight;
  torch::Tensor bias;
};

/// Writes the gradient of x into dx, whose channels lie as those of x.
DepthwiseGradients depthwise_backward(const torch::Tensor& dy, const torch::Tensor& x,
                                      const torch::Tensor& weight, const torch::Tensor& bias,
                                      const DepthwiseOptions& options, const torch::Tensor& dx,
                                      const Compute& compute);

}  // namespace spatialmamba::nn
