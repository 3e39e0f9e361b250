#include "nn/composed/product.h"

#include "nn/functions/node.h"

namespace spatialmamba::nn::composed {
namespace {

struct ProductKept {
  torch::ScalarType narrow;
  std::vector<std::int64_t> x_shape;
  std::vector<std::int64_t> weight_shape;
};

/// Of two matrices of a narrow type, in float32.
torch::Tensor matrix_product(const torch::Tensor& a, const torch::Tensor& b) {
  if (a.is_cuda()) return at::mm(a, b, torch::kFloat32);
  // The products of rounded factors are exact in float32: only where they are summed up differs.
  return at::mm(a.to(torch::kFloat32), b.to(torch::kFloat32));
}

class NarrowProduct : public torch::autograd::Function<NarrowProduct> {
 public:
  static torch::Tensor forward(AutogradContext* ctx, const torch::Tensor& x, const torch::Tensor& weight,
                               torch::ScalarType narrow) {
    const torch::Tensor a = x.reshape({-1, x.size(-1)}).to(narrow);
    const torch::Tensor b = weight.flatten(1).to(narrow);
    ctx->save_for_backward({a, b});
    keep(ctx, ProductKept{narrow, x.sizes().vec(), weight.sizes().vec()});
    std::vector<std::int64_t> shape = x.sizes().vec();
    shape.back() = weight.size(0);
    return matrix_product(a, b.t()).view(shape);
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& gradients) {
    const auto node = kept<ProductKept>(ctx);
    const variable_list saved = ctx->get_saved_variables();
    const torch::Tensor dy = gradients[0].reshape({-1, gradients[0].size(-1)}).to(node.narrow);
    return {matrix_product(dy, saved[1]).view(node.x_shape),
            matrix_product(dy.t(), saved[0]).view(node.weight_shape),
            {}};
  }
};

}  // namespace

torch::Tensor product(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                      Precision precision) {
  if (precision == Precision::full || x.scalar_type() == torch::kFloat64) {
    return at::linear(x, weight.flatten(1), if_defined(bias));
  }
  const torch::Tensor y =
      NarrowProduct::apply(x, weight, precision == Precision::bf16 ? torch::kBFloat16 : torch::kFloat16);
  return bias.defined() ? y + bias : y;
}

}  // namespace spatialmamba::nn::composed
