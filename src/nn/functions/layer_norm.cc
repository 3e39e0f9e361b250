#include "nn/functions/layer_norm.h"

#include "nn/composed/operators.h"
#include "nn/functions/normalise.h"
#include "nn/functions/product.h"

namespace spatialmamba::nn {
namespace {

class LayerNorm : public torch::autograd::Function<LayerNorm> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x, const torch::Tensor& gamma,
                               const torch::Tensor& beta, const ComputePtr& compute) {
    const Normalised n = normalise(x, gamma, beta, *compute);
    ctx->save_for_backward({x, gamma, beta, n.mean, n.rstd});
    keep(ctx, compute);
    return n.y;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor dy =
        gradients[0].clone(at::MemoryFormat::Contiguous);  // it may belong to somebody else
    const NormGradients d =
        normalise_backward(dy, saved[0], saved[1], saved[2], saved[3], saved[4], *kept<ComputePtr>(ctx));
    return {d.x, d.gamma, d.beta, {}};
  }
};

class NormLinear : public torch::autograd::Function<NormLinear> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x, const torch::Tensor& gamma,
                               const torch::Tensor& beta, const torch::Tensor& weight,
                               const ComputePtr& compute) {
    const Normalised n = normalise(x, gamma, beta, *compute);
    ctx->save_for_backward({x, gamma, beta, n.mean, n.rstd, weight});
    keep(ctx, compute);
    return product(n.y, weight, {}, *compute);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const ComputePtr compute = kept<ComputePtr>(ctx);
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor y = normalise(saved[0], saved[1], saved[2], *compute).y;
    const ProductGradients dp = product_backward(gradients[0].contiguous(), y, saved[5], false, *compute);
    const NormGradients dn =
        normalise_backward(dp.x, saved[0], saved[1], saved[2], saved[3], saved[4], *compute);
    return {dn.x, dn.gamma, dn.beta, dp.weight, {}};
  }
};

}  // namespace

torch::Tensor layer_norm(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta,
                         const ComputePtr& compute) {
  if (is_composed(compute->operators, x)) return composed::layer_norm(x, gamma, beta);
  return LayerNorm::apply(x.contiguous(), gamma, beta, compute);
}

torch::Tensor norm_linear(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta,
                          const torch::Tensor& weight, const ComputePtr& compute) {
  if (is_composed(compute->operators, x)) {
    return composed::norm_linear(x, gamma, beta, weight, compute->precision);
  }
  return NormLinear::apply(x.contiguous(), gamma, beta, weight, compute);
}

}  // namespace spatialmamba::nn
