#include "nn/functions/mlp.h"

#include "kernels/elementwise.h"
#include "nn/composed/operators.h"
#include "nn/functions/normalise.h"
#include "nn/functions/product.h"

namespace spatialmamba::nn {
namespace {

enum Saved { kX, kNormWeight, kNormBias, kMean, kRstd, kFc1, kPreactivation, kFc2, kScale };

torch::Tensor gelu(const torch::Tensor& x, const Compute& compute) {
  const torch::Tensor y = torch::empty_like(x);
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    kernels::gelu<T>(x.numel(), read<T>(x), write<T>(y), compute.isa, torch_parallel());
  });
  return y;
}

/// dy · gelu'(x), written over dy.
void gelu_backward(const torch::Tensor& x, const torch::Tensor& dy, const Compute& compute) {
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    kernels::gelu_backward<T>(x.numel(), read<T>(x), read<T>(dy), write<T>(dy), compute.isa,
                              torch_parallel());
  });
}

class MlpResidual : public torch::autograd::Function<MlpResidual> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x, const torch::Tensor& norm_weight,
                               const torch::Tensor& norm_bias, const torch::Tensor& fc1_weight,
                               const torch::Tensor& fc1_bias, const torch::Tensor& fc2_weight,
                               const torch::Tensor& fc2_bias, const std::optional<torch::Tensor>& scale,
                               bool with_gradient, const ComputePtr& compute) {
    const Normalised n = normalise(x, norm_weight, norm_bias, *compute);
    Epilogue epilogue{.bias = fc1_bias, .activation = kernels::GemmActivation::gelu};
    if (with_gradient) epilogue.activated = empty_rows(x, fc1_weight.size(0));
    const torch::Tensor hidden = product(n.y, fc1_weight, epilogue, *compute);
    if (with_gradient) {
      ctx->save_for_backward({x, norm_weight, norm_bias, n.mean, n.rstd, fc1_weight, hidden, fc2_weight,
                              scale.value_or(torch::Tensor())});
      keep(ctx, compute);
    }
    const torch::Tensor& activated = with_gradient ? epilogue.activated : hidden;
    if (!scale) return product(activated, fc2_weight, {.bias = fc2_bias, .residual = x}, *compute);
    torch::Tensor branch = product(activated, fc2_weight, {.bias = fc2_bias}, *compute);
    return at::addcmul_out(branch, x, branch, per_sample(*scale, branch));
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const ComputePtr compute = kept<ComputePtr>(ctx);
    const variable_list s = ctx->get_saved_variables();
    const torch::Tensor dy = gradients[0].contiguous();
    const torch::Tensor dbranch = s[kScale].defined() ? dy * per_sample(s[kScale], dy) : dy;
    const ProductGradients fc2 =
        product_backward(dbranch, gelu(s[kPreactivation], *compute), s[kFc2], true, *compute);
    gelu_backward(s[kPreactivation], fc2.x, *compute);
    const torch::Tensor normalised = normalise(s[kX], s[kNormWeight], s[kNormBias], *compute).y;
    const ProductGradients fc1 = product_backward(fc2.x, normalised, s[kFc1], true, *compute);
    const NormGradients norm =
        normalise_backward(fc1.x, s[kX], s[kNormWeight], s[kNormBias], s[kMean], s[kRstd], *compute);
    return {norm.x.add_(dy), norm.gamma, norm.beta, fc1.weight, fc1.bias, fc2.weight, fc2.bias, {}, {}, {}};
  }
};

}  // namespace

torch::Tensor mlp_residual(const torch::Tensor& x, const MlpParameters& p, const torch::Tensor& scale,
                           const ComputePtr& compute) {
  if (is_composed(compute->operators, x)) return composed::mlp_residual(x, p, scale, compute->precision);
  return MlpResidual::apply(x.contiguous(), p.norm_weight, p.norm_bias, p.fc1_weight, p.fc1_bias,
                            p.fc2_weight, p.fc2_bias, if_defined(scale), torch::GradMode::is_enabled(),
                            compute);
}

}  // namespace spatialmamba::nn
