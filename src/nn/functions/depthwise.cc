#include "nn/functions/depthwise.h"

namespace spatialmamba::nn {
namespace {

/// PyTorch's (C, 1, 3, 3) as the kernels read it, (9, C).
torch::Tensor taps_of(const torch::Tensor& weight) {
  return weight.view({-1, 9}).t().contiguous();
}

template <typename T>
kernels::DepthwiseInput<T> input_of(const torch::Tensor& x, const torch::Tensor& taps,
                                    const torch::Tensor& bias, const DepthwiseOptions& options) {
  return {.images = x.size(0),
          .height = x.size(1),
          .width = x.size(2),
          .channels = taps.size(1),
          .stride = options.stride,
          .x = read<T>(x),
          .x_stride = x.size(3),
          .weights = read<T>(taps),
          .bias = read<T>(bias),
          .activation = options.activation,
          .residual = options.residual};
}

}  // namespace

torch::Tensor depthwise(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                        const DepthwiseOptions& options, const Compute& compute) {
  const torch::Tensor taps = taps_of(weight);
  return with_type(x, [&](auto zero) {
    using T = decltype(zero);
    const auto input = input_of<T>(x, taps, bias, options);
    const torch::Tensor y =
        torch::empty({input.images, input.out_height(), input.out_width(), input.channels}, x.options());
    kernels::depthwise_forward<T>(input, write<T>(y), compute.isa, torch_parallel());
    return y;
  });
}

DepthwiseGradients depthwise_backward(const torch::Tensor& dy, const torch::Tensor& x,
                                      const torch::Tensor& weight, const torch::Tensor& bias,
                                      const DepthwiseOptions& options, const torch::Tensor& dx,
                                      const Compute& compute) {
  const torch::Tensor taps = taps_of(weight);
  const torch::Tensor dtaps = torch::empty_like(taps);
  const torch::Tensor dbias = torch::empty_like(bias);
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    const kernels::DepthwiseGradient<T> gradient{.dy = read<T>(dy),
                                                 .dx = write<T>(dx),
                                                 .dx_stride = dx.size(3),
                                                 .dweights = write<T>(dtaps),
                                                 .dbias = write<T>(dbias)};
    kernels::depthwise_backward<T>(input_of<T>(x, taps, bias, options), gradient, compute.isa,
                                   torch_parallel());
  });
  return {dtaps.t().contiguous().view(weight.sizes()), dbias};
}

}  // namespace spatialmamba::nn
