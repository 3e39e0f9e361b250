#include "nn/composed.h"

#include <array>

#include "spatialmamba/architecture.h"

namespace spatialmamba::test::composed {
namespace F = torch::nn::functional;

namespace {

/// `scale` (N) shaped so that it multiplies a tensor (N, ...).
torch::Tensor scaled(const torch::Tensor& branch, const torch::Tensor& scale) {
  if (!scale.defined()) return branch;
  std::vector<std::int64_t> shape(static_cast<std::size_t>(branch.dim()), 1);
  shape[0] = scale.size(0);
  return branch * scale.view(shape);
}

torch::Tensor state_scan(const torch::Tensor& x, const torch::Tensor& delta, const torch::Tensor& a,
                         const torch::Tensor& b) {
  const std::int64_t tokens = x.size(1) * x.size(2);
  const torch::Tensor decay = torch::exp(delta * a).flatten(1, 2);
  const torch::Tensor drive = (delta * b * x).flatten(1, 2);
  std::vector<torch::Tensor> states;
  torch::Tensor state = torch::zeros_like(decay.select(1, 0));
  for (std::int64_t t = 0; t < tokens; ++t) {
    state = decay.select(1, t) * state + drive.select(1, t);
    states.push_back(state);
  }
  return torch::stack(states, 1).view(x.sizes());
}

torch::Tensor state_fusion(const torch::Tensor& h, const nn::StateMixingParameters& p) {
  const torch::Tensor planes = h.permute({0, 3, 1, 2});
  const std::array kernels = {p.fusion_kernel_1, p.fusion_kernel_3, p.fusion_kernel_5};
  torch::Tensor sum;
  for (std::int64_t i = 0; i < 3; ++i) {
    const std::int64_t dilation = 2 * i + 1;
    const torch::Tensor padded = at::replication_pad2d(planes, {dilation, dilation, dilation, dilation});
    const torch::Tensor part =
        at::conv2d(padded, kernels[static_cast<std::size_t>(i)], {}, at::IntArrayRef{1}, at::IntArrayRef{0},
                   at::IntArrayRef{dilation}, planes.size(1)) *
        p.fusion_alpha[i];
    sum = sum.defined() ? sum + part : part;
  }
  return sum.permute({0, 2, 3, 1}).contiguous();
}

}  // namespace

torch::Tensor depthwise_conv(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                             const nn::DepthwiseOptions& options) {
  const torch::Tensor planes = x.permute({0, 3, 1, 2});
  torch::Tensor y =
      at::conv2d(planes, weight, bias, options.stride, 1, 1, planes.size(1)).permute({0, 2, 3, 1});
  if (options.activation == kernels::Activation::silu) y = torch::silu(y);
  if (options.activation == kernels::Activation::relu) y = torch::relu(y);
  return (options.residual ? y + x : y).contiguous();
}

torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta) {
  return torch::layer_norm(x, {x.size(-1)}, gamma, beta, kNormEpsilon);
}

torch::Tensor norm_linear(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta,
                          const torch::Tensor& weight) {
  return F::linear(layer_norm(x, gamma, beta), weight);
}

torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                     bool relu) {
  const torch::Tensor y = F::linear(x, weight.flatten(1), bias);
  return relu ? torch::relu(y) : y;
}

torch::Tensor linear_residual(const torch::Tensor& x, const torch::Tensor& weight,
                              const torch::Tensor& residual, const torch::Tensor& scale) {
  return residual + scaled(F::linear(x, weight), scale);
}

torch::Tensor mlp_residual(const torch::Tensor& x, const nn::MlpParameters& p, const torch::Tensor& scale) {
  const torch::Tensor hidden =
      torch::gelu(F::linear(layer_norm(x, p.norm_weight, p.norm_bias), p.fc1_weight, p.fc1_bias));
  return x + scaled(F::linear(hidden, p.fc2_weight, p.fc2_bias), scale);
}

torch::Tensor state_mixing(const torch::Tensor& xz, const nn::StateMixingParameters& p,
                           const std::vector<std::int64_t>& order) {
  const std::int64_t inner = xz.size(-1) / 2;
  const std::int64_t rank = p.dt_weight.size(1);
  const torch::Tensor x = depthwise_conv(xz.narrow(-1, 0, inner), p.conv_weight, p.conv_bias,
                                         {.activation = kernels::Activation::silu});
  const torch::Tensor z = xz.narrow(-1, inner, inner);
  const torch::Tensor projected = F::linear(x, p.x_proj_weight);
  const torch::Tensor delta =
      torch::softplus(F::linear(projected.narrow(-1, 0, rank), p.dt_weight, p.dt_bias));
  const torch::Tensor a = -torch::exp(p.a_logs.flatten());
  const auto visited = [&](const torch::Tensor& map, const torch::Tensor& tokens) {
    return order.empty() ? map : map.flatten(1, 2).index_select(1, tokens).view(map.sizes());
  };
  const torch::Tensor tokens = torch::tensor(order, torch::kInt64);
  const torch::Tensor h = visited(state_scan(visited(x, tokens), visited(delta, tokens), a,
                                             visited(projected.narrow(-1, rank, 1), tokens)),
                                  tokens.argsort());
  const torch::Tensor s = state_fusion(h, p);
  const torch::Tensor y = s * projected.narrow(-1, rank + 1, 1) + x * p.ds;
  return layer_norm(y, p.norm_weight, p.norm_bias) * torch::silu(z);
}

}  // namespace spatialmamba::test::composed
