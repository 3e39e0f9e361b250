#include "nn/composed/operators.h"

#include "nn/composed/product.h"
#include "nn/functions/node.h"
#include "spatialmamba/architecture.h"

namespace spatialmamba::nn::composed {
namespace {

torch::Tensor add_branch(const torch::Tensor& residual, const torch::Tensor& branch,
                         const torch::Tensor& scale) {
  return scale.defined() ? torch::addcmul(residual, branch, per_sample(scale, branch)) : residual + branch;
}

}  // namespace

torch::Tensor depthwise_conv(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                             const DepthwiseOptions& options) {
  torch::Tensor y =
      at::conv2d(x.permute({0, 3, 1, 2}), weight, bias, options.stride, 1, 1, /*groups=*/x.size(3))
          .permute({0, 2, 3, 1});
  if (options.activation == kernels::Activation::silu) y = torch::silu(y);
  if (options.activation == kernels::Activation::relu) y = torch::relu(y);
  return (options.residual ? y + x : y).contiguous();
}

torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta) {
  return torch::layer_norm(x, {x.size(-1)}, gamma, beta, kNormEpsilon);
}

torch::Tensor norm_linear(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta,
                          const torch::Tensor& weight, Precision precision) {
  return product(layer_norm(x, gamma, beta), weight, {}, precision);
}

torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                     bool relu, Precision precision) {
  const torch::Tensor y = product(x, weight, bias, precision);
  return relu ? torch::relu(y) : y;
}

torch::Tensor linear_residual(const torch::Tensor& x, const torch::Tensor& weight,
                              const torch::Tensor& residual, const torch::Tensor& scale,
                              Precision precision) {
  return add_branch(residual, product(x, weight, {}, precision), scale);
}

torch::Tensor mlp_residual(const torch::Tensor& x, const MlpParameters& p, const torch::Tensor& scale,
                           Precision precision) {
  const torch::Tensor normalised = layer_norm(x, p.norm_weight, p.norm_bias);
  const torch::Tensor hidden = torch::gelu(product(normalised, p.fc1_weight, p.fc1_bias, precision));
  return add_branch(x, product(hidden, p.fc2_weight, p.fc2_bias, precision), scale);
}

}  // namespace spatialmamba::nn::composed
