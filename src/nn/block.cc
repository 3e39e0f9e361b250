#include "nn/block.h"

#include "nn/functions/depthwise_conv.h"
#include "nn/functions/layer_norm.h"
#include "nn/functions/linear.h"
#include "nn/functions/mlp.h"
#include "spatialmamba/architecture.h"

namespace spatialmamba::nn {
namespace {

std::vector<std::int64_t> depthwise_shape(std::int64_t channels) {
  return {channels, 1, 3, 3};
}

}  // namespace

StateFusionImpl::StateFusionImpl(std::int64_t channels) {
  kernel_3 = register_parameter("kernel_3", torch::empty(depthwise_shape(channels)));
  kernel_3_1 = register_parameter("kernel_3_1", torch::empty(depthwise_shape(channels)));
  kernel_3_2 = register_parameter("kernel_3_2", torch::empty(depthwise_shape(channels)));
  alpha = register_parameter("alpha", torch::empty({3}));
}

StructureAwareSsmImpl::StructureAwareSsmImpl(std::int64_t dim, ComputePtr compute)
    : compute_(std::move(compute)) {
  const std::int64_t inner = kExpand * dim;
  const std::int64_t rank = dt_rank(dim);
  x_proj_weight_ = register_parameter("x_proj_weight", torch::empty({rank + 2, inner}));
  dt_projs_weight_ = register_parameter("dt_projs_weight", torch::empty({inner, rank}));
  dt_projs_bias_ = register_parameter("dt_projs_bias", torch::empty({inner}));
  a_logs_ = register_parameter("A_logs", torch::empty({inner, 1}));
  ds_ = register_parameter("Ds", torch::empty({inner}));
  in_proj_ = register_module("in_proj", Affine(std::vector<std::int64_t>{2 * inner, dim}, false));
  conv2d_ = register_module("conv2d", Affine(depthwise_shape(inner)));
  state_fusion_ = register_module("state_fusion", StateFusion(inner));
  out_norm_ = register_module("out_norm", Affine(std::vector<std::int64_t>{inner}));
  out_proj_ = register_module("out_proj", Affine(std::vector<std::int64_t>{dim, inner}, false));
}

torch::Tensor StructureAwareSsmImpl::project_in(const torch::Tensor& x, const AffineImpl& norm) const {
  return norm_linear(x, norm.weight, norm.bias, in_proj_->weight, compute_);
}

torch::Tensor StructureAwareSsmImpl::mix(const torch::Tensor& xz, FusionStates* states) const {
  const StateMixingParameters parameters{
      .conv_weight = conv2d_->weight,
      .conv_bias = conv2d_->bias,
      .x_proj_weight = x_proj_weight_,
      .dt_weight = dt_projs_weight_,
      .dt_bias = dt_projs_bias_,
      .a_logs = a_logs_,
      .ds = ds_,
      .fusion_kernel_1 = state_fusion_->kernel_3,
      .fusion_kernel_3 = state_fusion_->kernel_3_1,
      .fusion_kernel_5 = state_fusion_->kernel_3_2,
      .fusion_alpha = state_fusion_->alpha,
      .norm_weight = out_norm_->weight,
      .norm_bias = out_norm_->bias,
  };
  return state_mixing(xz, parameters, compute_, states);
}

torch::Tensor StructureAwareSsmImpl::project_out(const torch::Tensor& y, const torch::Tensor& residual,
                                                 const torch::Tensor& scale) const {
  return linear_residual(y, out_proj_->weight, residual, scale, compute_);
}

MlpImpl::MlpImpl(std::int64_t dim) {
  fc1 = register_module("fc1", Affine(std::vector<std::int64_t>{kMlpRatio * dim, dim}));
  fc2 = register_module("fc2", Affine(std::vector<std::int64_t>{dim, kMlpRatio * dim}));
}

BlockImpl::BlockImpl(std::int64_t dim, double drop_path_rate, ComputePtr compute)
    : drop_path_rate_(drop_path_rate), compute_(std::move(compute)) {
  cpe1_ = register_module("cpe1", Affine(depthwise_shape(dim)));
  ln_1_ = register_module("ln_1", Affine(std::vector<std::int64_t>{dim}));
  self_attention_ = register_module("self_attention", StructureAwareSsm(dim, compute_));
  cpe2_ = register_module("cpe2", Affine(depthwise_shape(dim)));
  ln_2_ = register_module("ln_2", Affine(std::vector<std::int64_t>{dim}));
  mlp_ = register_module("mlp", Mlp(dim));
}

BlockImpl::DropPath BlockImpl::draw_drop_path(std::int64_t samples,
                                              const std::optional<at::Generator>& generator) const {
  if (!is_training() || drop_path_rate_ <= 0.0) return {};
  const double keep = 1.0 - drop_path_rate_;
  const auto draw = [&] {
    // On the CPU, so that one seed drops the same everywhere.
    const auto options = ln_1_->weight.options().requires_grad(false).device(torch::kCPU);
    return torch::empty({samples}, options)
        .bernoulli_(keep, generator)
        .div_(keep)
        .to(ln_1_->weight.device(), /*non_blocking=*/true);
  };
  return {.attention = draw(), .mlp = draw()};
}

torch::Tensor BlockImpl::forward(const torch::Tensor& input, const DropPath& drop_path,
                                 FusionStates* states) const {
  const DepthwiseOptions residual{.residual = true};
  torch::Tensor x = depthwise_conv(input, cpe1_->weight, cpe1_->bias, residual, compute_);
  const torch::Tensor xz = self_attention_->project_in(x, *ln_1_);
  x = self_attention_->project_out(self_attention_->mix(xz, states), x, drop_path.attention);
  x = depthwise_conv(x, cpe2_->weight, cpe2_->bias, residual, compute_);
  const MlpParameters mlp{ln_2_->weight,   ln_2_->bias,       mlp_->fc1->weight,
                          mlp_->fc1->bias, mlp_->fc2->weight, mlp_->fc2->bias};
  return mlp_residual(x, mlp, drop_path.mlp, compute_);
}

}  // namespace spatialmamba::nn
