#include "nn/plain_state_mixing.h"

#include <array>

#include "nn/composed/operators.h"

namespace spatialmamba::test {
namespace F = torch::nn::functional;

namespace {

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

torch::Tensor plain_state_mixing(const torch::Tensor& xz, const nn::StateMixingParameters& p,
                                 const std::vector<std::int64_t>& order) {
  const std::int64_t inner = xz.size(-1) / 2;
  const std::int64_t rank = p.dt_weight.size(1);
  const torch::Tensor x = nn::composed::depthwise_conv(xz.narrow(-1, 0, inner), p.conv_weight, p.conv_bias,
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
  return nn::composed::layer_norm(y, p.norm_weight, p.norm_bias) * torch::silu(z);
}

}  // namespace spatialmamba::test
