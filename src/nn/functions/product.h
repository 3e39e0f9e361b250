#pragma once

#include "nn/functions/node.h"

namespace spatialmamba::nn {

/// What follows a product: y = x weight^T + bias + residual, then the activation.
struct Epilogue {
  torch::Tensor bias = {};      ///< undefined: none
  torch::Tensor residual = {};  ///< undefined: none
  kernels::GemmActivation activation = kernels::GemmActivation::none;
  torch::Tensor activated = {};  ///< where activation(y) goes; undefined: over y
};

/// x (..., C), weight (K, C) or (K, C, 1, 1), both dense -> y (..., K).
torch::Tensor product(const torch::Tensor& x, const torch::Tensor& weight, const Epilogue& epilogue,
                      Compute& compute);

struct ProductGradients {
  torch::Tensor x;
  torch::Tensor weight;
  torch::Tensor bias;
};

/// Gradients of x weight^T [+ bias] from dy (..., K).
ProductGradients product_backward(const torch::Tensor& dy, const torch::Tensor& x,
                                  const torch::Tensor& weight, bool with_bias, Compute& compute);

}  // namespace spatialmamba::nn
