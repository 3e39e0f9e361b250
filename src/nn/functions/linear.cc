#include "nn/functions/linear.h"

#include "nn/composed/operators.h"
#include "nn/functions/product.h"

namespace spatialmamba::nn {
namespace {

struct LinearKept {
  ComputePtr compute;
  bool relu;
  bool with_bias;
};

class Linear : public torch::autograd::Function<Linear> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x, const torch::Tensor& weight,
                               const std::optional<torch::Tensor>& bias, bool relu,
                               const ComputePtr& compute) {
    const torch::Tensor y =
        product(x, weight,
                {.bias = bias.value_or(torch::Tensor()),
                 .activation = relu ? kernels::GemmActivation::relu : kernels::GemmActivation::none},
                *compute);
    ctx->save_for_backward({x, weight, relu ? y : torch::Tensor()});
    keep(ctx, LinearKept{compute, relu, bias.has_value()});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto node = kept<LinearKept>(ctx);
    const variable_list saved = ctx->get_saved_variables();
    torch::Tensor dy = gradients[0].contiguous();
    if (node.relu) dy = at::threshold_backward(dy, saved[2], 0);
    const ProductGradients d = product_backward(dy, saved[0], saved[1], node.with_bias, *node.compute);
    return {d.x, d.weight, d.bias, {}, {}};
  }
};

class LinearResidual : public torch::autograd::Function<LinearResidual> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x, const torch::Tensor& weight,
                               const torch::Tensor& residual, const std::optional<torch::Tensor>& scale,
                               const ComputePtr& compute) {
    ctx->save_for_backward({x, weight, scale.value_or(torch::Tensor())});
    keep(ctx, compute);
    if (!scale) return product(x, weight, {.residual = residual}, *compute);
    torch::Tensor branch = product(x, weight, {}, *compute);
    return at::addcmul_out(branch, residual, branch, per_sample(*scale, branch));
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor dy = gradients[0].contiguous();
    const torch::Tensor dbranch = saved[2].defined() ? dy * per_sample(saved[2], dy) : dy;
    const ProductGradients d = product_backward(dbranch, saved[0], saved[1], false, *kept<ComputePtr>(ctx));
    return {d.x, d.weight, dy, {}, {}};
  }
};

}  // namespace

torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                     bool relu, const ComputePtr& compute) {
  if (is_composed(compute->operators, x)) return composed::linear(x, weight, bias, relu, compute->precision);
  return Linear::apply(x.contiguous(), weight, if_defined(bias), relu, compute);
}

torch::Tensor linear_residual(const torch::Tensor& x, const torch::Tensor& weight,
                              const torch::Tensor& residual, const torch::Tensor& scale,
                              const ComputePtr& compute) {
  if (is_composed(compute->operators, x)) {
    return composed::linear_residual(x, weight, residual, scale, compute->precision);
  }
  return LinearResidual::apply(x.contiguous(), weight, residual.contiguous(), if_defined(scale), compute);
}

}  // namespace spatialmamba::nn
