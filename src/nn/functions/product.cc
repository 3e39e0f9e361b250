#include "nn/functions/product.h"

namespace spatialmamba::nn {
namespace {

kernels::LinearShape shape_of(const torch::Tensor& x, const torch::Tensor& weight) {
  return {rows_of(x), x.size(-1), weight.size(0)};
}

}  // namespace

torch::Tensor product(const torch::Tensor& x, const torch::Tensor& weight, const Epilogue& epilogue,
                      Compute& compute) {
  const torch::Tensor y = empty_rows(x, weight.size(0));
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    const kernels::LinearShape shape = shape_of(x, weight);
    kernels::GemmOutput<T> out{.data = write<T>(y), .stride = shape.outputs};
    out.bias = read<T>(epilogue.bias);
    out.residual = read<T>(epilogue.residual);
    out.residual_stride = shape.outputs;
    out.activation = epilogue.activation;
    out.activated = epilogue.activated.defined() ? write<T>(epilogue.activated) : out.data;
    out.activated_stride = shape.outputs;
    kernels::linear_forward<T>(shape, read<T>(x), shape.inputs, read<T>(weight), out, gemm_context(compute));
  });
  return y;
}

ProductGradients product_backward(const torch::Tensor& dy, const torch::Tensor& x,
                                  const torch::Tensor& weight, bool with_bias, Compute& compute) {
  ProductGradients gradients{torch::empty_like(x), torch::empty_like(weight), {}};
  if (with_bias) gradients.bias = torch::empty({weight.size(0)}, x.options());
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    const kernels::LinearShape shape = shape_of(x, weight);
    const kernels::GemmContext context = gemm_context(compute);
    const kernels::GemmOutput<T> dx{.data = write<T>(gradients.x), .stride = shape.inputs};
    kernels::linear_input_gradient<T>(shape, read<T>(dy), shape.outputs, read<T>(weight), dx, context);
    kernels::linear_weight_gradient<T>(shape, read<T>(dy), shape.outputs, read<T>(x), shape.inputs,
                                       write<T>(gradients.weight), write<T>(gradients.bias), false, context);
  });
  return gradients;
}

}  // namespace spatialmamba::nn
