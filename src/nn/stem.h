#pragma once

#include <torch/torch.h>

#include "nn/compute.h"
#include "nn/layers.h"

namespace spatialmamba::nn {

/// Convolution and BatchNorm, as the reference groups them: names `conv.*` and `norm.*`.
class ConvNormImpl : public torch::nn::Module {
 public:
  ConvNormImpl(at::IntArrayRef weight_shape, bool with_bias, bool with_norm);

  Affine conv{nullptr};
  BatchNorm norm{nullptr};
};
TORCH_MODULE(ConvNorm);

/// Image to tokens at a quarter of its size.
class StemImpl : public torch::nn::Module {
 public:
  StemImpl(std::int64_t in_channels, std::int64_t dim, ComputePtr compute);

  /// images (N, in_channels, H, W) -> (N, ceil(H/4), ceil(W/4), dim)
  torch::Tensor forward(const torch::Tensor& images);

 private:
  ComputePtr compute_;
  ConvNorm conv1_{nullptr};
  std::vector<ConvNorm> conv2_;
  std::vector<ConvNorm> conv3_;
};
TORCH_MODULE(Stem);

/// Halves the map (rounding up) and changes the channels.
class DownsamplingImpl : public torch::nn::Module {
 public:
  DownsamplingImpl(std::int64_t dim, std::int64_t next_dim, ComputePtr compute);

  /// x (N, H, W, dim) -> (N, ceil(H/2), ceil(W/2), next_dim)
  torch::Tensor forward(const torch::Tensor& x);

 private:
  ComputePtr compute_;
  std::vector<ConvNorm> conv_;
};
TORCH_MODULE(Downsampling);

}  // namespace spatialmamba::nn
