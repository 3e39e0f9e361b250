#pragma once

#include <torch/torch.h>

#include "nn/functions/depthwise_conv.h"
#include "nn/functions/mlp.h"
#include "nn/functions/state_mixing.h"

/// The functions of src/nn/functions composed of LibTorch's own operators, step by step as the paper writes
/// them: the oracle that the fused ones are held to. Same arguments, without what the kernels run with.
namespace spatialmamba::test::composed {

torch::Tensor depthwise_conv(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                             const nn::DepthwiseOptions& options);
torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta);
torch::Tensor norm_linear(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta,
                          const torch::Tensor& weight);
torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                     bool relu);
torch::Tensor linear_residual(const torch::Tensor& x, const torch::Tensor& weight,
                              const torch::Tensor& residual, const torch::Tensor& scale);
torch::Tensor mlp_residual(const torch::Tensor& x, const nn::MlpParameters& parameters,
                           const torch::Tensor& scale);
/// `order`: the tokens, numbered row by row, in the order in which the scan visits them.
torch::Tensor state_mixing(const torch::Tensor& xz, const nn::StateMixingParameters& parameters,
                           const std::vector<std::int64_t>& order = {});

}  // namespace spatialmamba::test::composed
