#pragma once

#include <torch/torch.h>

#include "nn/compute.h"
#include "nn/layers.h"

namespace spatialmamba::nn {

/// Convolution without bias, BatchNorm, ReLU, with the names that OpenMMLab's models use: `conv.weight`,
/// `bn.*`.
class ConvBnImpl : public torch::nn::Module {
 public:
  ConvBnImpl(std::int64_t in, std::int64_t out, std::int64_t size, ComputePtr compute);

  /// x (N, H, W, in) -> (N, H, W, out)
  torch::Tensor forward(const torch::Tensor& x);

  Affine conv{nullptr};
  BatchNorm bn{nullptr};

 private:
  ComputePtr compute_;
};
TORCH_MODULE(ConvBn);

}  // namespace spatialmamba::nn
