#pragma once

#include "kernels/layer_norm.h"
#include "nn/functions/node.h"
#include "spatialmamba/architecture.h"

namespace spatialmamba::nn {

/// x (..., C) normalised over C, and what that needs in backward.
struct Normalised {
  torch::Tensor y;
  torch::Tensor mean;  ///< one per row
  torch::Tensor rstd;
};

Normalised normalise(const torch::Tensor& x, const torch::Tensor& gamma, const torch::Tensor& beta,
                     const Compute& compute);

struct NormGradients {
  torch::Tensor x;
  torch::Tensor gamma;
  torch::Tensor beta;
};

/// The gradient of x is written over dy.
NormGradients normalise_backward(const torch::Tensor& dy, const torch::Tensor& x, const torch::Tensor& gamma,
                                 const torch::Tensor& beta, const torch::Tensor& mean,
                                 const torch::Tensor& rstd, const Compute& compute);

/// The kernels' view of it, without a gate.
template <typename T>
kernels::LayerNormInput<T> norm_input(const torch::Tensor& x, const torch::Tensor& gamma,
                                      const torch::Tensor& beta) {
  return {.rows = rows_of(x),
          .channels = x.size(-1),
          .x = read<T>(x),
          .gamma = read<T>(gamma),
          .beta = read<T>(beta),
          .epsilon = kNormEpsilon};
}

}  // namespace spatialmamba::nn
