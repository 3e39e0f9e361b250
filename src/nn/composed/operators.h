#pragma once

#include <torch/torch.h>

#include "nn/functions/depthwise_conv.h"
#include "nn/functions/mlp.h"

/// The functions of nn/functions made of LibTorch's operators alone: the same arguments and mathematics, on
/// any device, differentiated by LibTorch.
namespace spatialmamba::nn::composed {

torch::Tensor depthwise_conv(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                             const DepthwiseOptions& options);

torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta);

torch::Tensor norm_linear(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta,
                          const torch::Tensor& weight, Precision precision);

torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                     bool relu, Precision precision);

torch::Tensor linear_residual(const torch::Tensor& x, const torch::Tensor& weight,
                              const torch::Tensor& residual, const torch::Tensor& scale, Precision precision);

torch::Tensor mlp_residual(const torch::Tensor& x, const MlpParameters& parameters,
                           const torch::Tensor& scale, Precision precision);

}  // namespace spatialmamba::nn::composed
