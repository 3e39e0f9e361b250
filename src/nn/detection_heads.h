#pragma once

#include <torch/torch.h>

#include <vector>

#include "nn/compute.h"
#include "nn/layers.h"

namespace spatialmamba::nn {

/// A convolution with bias and mmdetection's name for it: `NAME.conv.*`.
class PlainConvImpl : public torch::nn::Module {
 public:
  PlainConvImpl(std::int64_t in, std::int64_t out, std::int64_t size, ComputePtr compute);

  /// x (N, H, W, in) -> (N, H, W, out)
  torch::Tensor forward(const torch::Tensor& x);

 private:
  ComputePtr compute_;
  Affine conv_{nullptr};
};
TORCH_MODULE(PlainConv);

/// The feature pyramid (Lin et al. 2017): each map by a 1x1 convolution to the same channels, enlarged maps
/// added from the top down, a 3x3 convolution on each, and every second place of the last as the fifth.
class FeaturePyramidImpl : public torch::nn::Module {
 public:
  FeaturePyramidImpl(const std::vector<std::int64_t>& dims, std::int64_t channels, const ComputePtr& compute);

  /// Maps (N, H_i, W_i, dims_i) -> five maps (N, H_i, W_i, channels).
  std::vector<torch::Tensor> forward(const std::vector<torch::Tensor>& maps);

 private:
  std::vector<PlainConv> laterals_;
  std::vector<PlainConv> outputs_;
};
TORCH_MODULE(FeaturePyramid);

/// The region proposal network's answer on one level.
struct RpnMap {
  torch::Tensor scores;  ///< (N, H, W, shapes), logits
  torch::Tensor deltas;  ///< (N, H, W, 4 · shapes)
};

class RpnHeadImpl : public torch::nn::Module {
 public:
  RpnHeadImpl(std::int64_t channels, std::int64_t hidden, std::int64_t shapes, ComputePtr compute);

  RpnMap forward(const torch::Tensor& x);

 private:
  ComputePtr compute_;
  Affine rpn_conv_{nullptr};
  Affine rpn_cls_{nullptr};
  Affine rpn_reg_{nullptr};
};
TORCH_MODULE(RpnHead);

struct BoxAnswer {
  torch::Tensor scores;  ///< (R, classes + 1), logits, background last
  torch::Tensor deltas;  ///< (R, 4 · classes)
};

class BoxHeadImpl : public torch::nn::Module {
 public:
  BoxHeadImpl(std::int64_t channels, std::int64_t hidden, std::int64_t classes, ComputePtr compute);

  /// x (R, 7, 7, channels)
  BoxAnswer forward(const torch::Tensor& x);

 private:
  ComputePtr compute_;
  Affine fc_cls_{nullptr};
  Affine fc_reg_{nullptr};
  std::vector<Affine> shared_fcs_;
};
TORCH_MODULE(BoxHead);

class MaskHeadImpl : public torch::nn::Module {
 public:
  MaskHeadImpl(std::int64_t channels, std::int64_t hidden, std::int64_t classes, const ComputePtr& compute);

  /// x (R, 14, 14, channels) -> logits (R, 28, 28, classes)
  torch::Tensor forward(const torch::Tensor& x);

 private:
  ComputePtr compute_;
  std::vector<PlainConv> convs_;
  Affine upsample_{nullptr};
  Affine conv_logits_{nullptr};
};
TORCH_MODULE(MaskHead);

}  // namespace spatialmamba::nn
