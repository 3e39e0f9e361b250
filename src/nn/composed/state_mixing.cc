#include "nn/composed/state_mixing.h"

#include "kernels/sasf.h"
#include "nn/composed/operators.h"
#include "nn/composed/product.h"
#include "nn/composed/selective_scan.h"
#include "nn/functions/token_order.h"

namespace spatialmamba::nn::composed {
namespace {

/// The first and the last slice along a dimension repeated outside. (Its gradient adds up in one order,
/// unlike that of LibTorch's replication_pad2d on a GPU.)
torch::Tensor repeat_edges(const torch::Tensor& x, std::int64_t dimension, std::int64_t reach) {
  std::vector<std::int64_t> shape = x.sizes().vec();
  shape[static_cast<std::size_t>(dimension)] = reach;
  const torch::Tensor first = x.narrow(dimension, 0, 1).expand(shape);
  const torch::Tensor last = x.narrow(dimension, x.size(dimension) - 1, 1).expand(shape);
  return torch::cat({first, x, last}, dimension);
}

/// The states (N, H, W, E) fused with their neighbours: three depthwise kernels over replicated borders.
torch::Tensor fuse(const torch::Tensor& h, const StateMixingParameters& p) {
  constexpr std::int64_t kReach = kernels::kSasfReach;
  const torch::Tensor padded =
      repeat_edges(repeat_edges(h.permute({0, 3, 1, 2}).contiguous(), 2, kReach), 3, kReach);
  const std::array kernels = {p.fusion_kernel_1, p.fusion_kernel_3, p.fusion_kernel_5};
  torch::Tensor sum;
  for (std::size_t i = 0; i < kernels.size(); ++i) {
    const std::int64_t dilation = kernels::kSasfDilations[i];
    const std::int64_t spare = kReach - dilation;
    const torch::Tensor seen =
        padded.narrow(2, spare, h.size(1) + 2 * dilation).narrow(3, spare, h.size(2) + 2 * dilation);
    const torch::Tensor weight = kernels[i] * p.fusion_alpha[static_cast<std::int64_t>(i)];
    const torch::Tensor part = at::conv2d(seen, weight, {}, at::IntArrayRef{1}, at::IntArrayRef{0},
                                          at::IntArrayRef{dilation}, /*groups=*/h.size(3));
    sum = sum.defined() ? sum + part : part;
  }
  return sum.permute({0, 2, 3, 1});
}

/// The states of x (N, H, W, E), projected (N, H, W, R + 2): low-rank time step, B, C.
torch::Tensor scan(const torch::Tensor& x, const torch::Tensor& projected, const StateMixingParameters& p,
                   ScanOrder order) {
  const std::int64_t rank = p.dt_weight.size(1);
  const auto sequence = [&](const torch::Tensor& map) { return to_scan_order(map, order).flatten(1, 2); };
  const torch::Tensor steps = sequence(projected);
  const torch::Tensor delta = at::linear(steps.narrow(-1, 0, rank), p.dt_weight, p.dt_bias);
  const torch::Tensor h = selective_scan(delta, p.a_logs, sequence(x), steps.narrow(-1, rank, 1));
  return to_map_order(h.view(x.sizes()), order);
}

}  // namespace

torch::Tensor state_mixing(const torch::Tensor& xz, const StateMixingParameters& p, const Compute& compute,
                           FusionStates* states) {
  const std::int64_t inner = xz.size(-1) / 2;
  const torch::Tensor x = depthwise_conv(xz.narrow(-1, 0, inner), p.conv_weight, p.conv_bias,
                                         {.activation = kernels::Activation::silu});
  const torch::Tensor projected = product(x, p.x_proj_weight, {}, compute.precision);
  const torch::Tensor h = scan(x, projected, p, compute.scan);
  const torch::Tensor fused = fuse(h, p);
  if (states != nullptr) *states = {h.detach(), fused.detach().contiguous()};
  const torch::Tensor y = torch::addcmul(x * p.ds, fused, projected.narrow(-1, projected.size(-1) - 1, 1));
  return layer_norm(y.contiguous(), p.norm_weight, p.norm_bias) * torch::silu(xz.narrow(-1, inner, inner));
}

}  // namespace spatialmamba::nn::composed
