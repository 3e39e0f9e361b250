#include "nn/functions/normalise.h"

namespace spatialmamba::nn {
Normalised normalise(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta,
                     const Compute& compute) {
  Normalised result{torch::empty_like(x), torch::empty({rows_of(x)}, x.options()),
                    torch::empty({rows_of(x)}, x.options())};
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    kernels::layer_norm_forward<T>(norm_input<T>(x, gamma, beta), write<T>(result.y), write<T>(result.mean),
                                   write<T>(result.rstd), compute.isa, torch_parallel());
  });
  return result;
}

NormGradients normalise_backward(const torch::Tensor& dy, const torch::Tensor& x, const torch::Tensor& gamma,
                                 const torch::Tensor& beta, const torch::Tensor& mean,
                                 const torch::Tensor& rstd, const Compute& compute) {
  NormGradients gradients{dy, torch::empty_like(gamma), torch::empty_like(beta)};
  with_type(x, [&](auto zero) {
    using T = decltype(zero);
    const kernels::LayerNormGradient<T> gradient{.mean = read<T>(mean),
                                                 .rstd = read<T>(rstd),
                                                 .dy = read<T>(dy),
                                                 .dx = write<T>(gradients.x),
                                                 .dgamma = write<T>(gradients.gamma),
                                                 .dbeta = write<T>(gradients.beta)};
    kernels::layer_norm_backward<T>(norm_input<T>(x, gamma, beta), gradient, compute.isa, torch_parallel());
  });
  return gradients;
}

}  // namespace spatialmamba::nn
