#pragma once

#include <torch/torch.h>

#include "nn/functions/synchronised_norm.h"

namespace spatialmamba::nn {

/// A weight and, where wanted, a bias with one element per row of the weight: the parameters of a
/// convolution, a linear layer or a LayerNorm. The owner knows what to compute with them. Uninitialised.
class AffineImpl : public torch::nn::Module {
 public:
  explicit AffineImpl(at::IntArrayRef weight_shape, bool with_bias = true);

  torch::Tensor weight;
  torch::Tensor bias;  ///< undefined without
};
TORCH_MODULE(Affine);

/// BatchNorm over the last dimension: parameters and running statistics.
class BatchNormImpl : public torch::nn::Module {
 public:
  explicit BatchNormImpl(std::int64_t channels);

  /// x (N, H, W, C) contiguous. In training normalises by the batch and updates the running statistics.
  torch::Tensor forward(const torch::Tensor& x);

  torch::Tensor weight;
  torch::Tensor bias;
  torch::Tensor running_mean;
  torch::Tensor running_var;
  torch::Tensor num_batches_tracked;
  /// Where set, training normalises by the images of all processes together.
  SumOverProcesses sum_over_processes;

 private:
  torch::Tensor forward_synchronised(const torch::Tensor& x);
};
TORCH_MODULE(BatchNorm);

}  // namespace spatialmamba::nn
