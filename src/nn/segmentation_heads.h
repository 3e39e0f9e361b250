#pragma once

#include <torch/torch.h>

#include <optional>
#include <vector>

#include "nn/compute.h"
#include "nn/conv_bn.h"

namespace spatialmamba::nn {

/// The reference drops whole channels in front of each head's classifier while training.
inline constexpr double kHeadDropout = 0.1;

/// Dropout of whole channels in training, then the 1x1 convolution to class scores.
class ClassifierImpl : public torch::nn::Module {
 public:
  ClassifierImpl(std::int64_t channels, std::int64_t classes, ComputePtr compute);

  /// x (N, H, W, channels) -> (N, H, W, classes). `dropout` 0 switches it off.
  torch::Tensor forward(const torch::Tensor& x, double dropout,
                        const std::optional<at::Generator>& generator);

  torch::Tensor weight;  ///< (classes, channels, 1, 1)
  torch::Tensor bias;

 private:
  ComputePtr compute_;
};
TORCH_MODULE(Classifier);

/// What UPerNet's decode head computes on the way; maps are (N, H, W, C).
struct UperMaps {
  std::vector<torch::Tensor> pooled;  ///< the pyramid's branches at the size of the last map
  torch::Tensor psp;                  ///< of the whole pyramid
  torch::Tensor fused;                ///< of all levels, at the size of the first
  torch::Tensor logits;               ///< (N, H, W, classes)
};

/// UPerNet: a pooling pyramid on the last of four maps, a feature pyramid over all, fused and classified.
class UperHeadImpl : public torch::nn::Module {
 public:
  UperHeadImpl(const std::vector<std::int64_t>& in_channels, const std::vector<std::int64_t>& pools,
               std::int64_t channels, std::int64_t classes, const ComputePtr& compute);

  /// `maps` (N, H_i, W_i, C_i), the largest first.
  UperMaps forward(const std::vector<torch::Tensor>& maps);

  void set_generator(const at::Generator& generator) { generator_ = generator; }
  void set_dropout(double dropout) { dropout_ = dropout; }

 private:
  torch::Tensor pyramid(const torch::Tensor& x, UperMaps& out);

  std::vector<std::int64_t> pools_;
  double dropout_ = kHeadDropout;
  std::optional<at::Generator> generator_;
  Classifier conv_seg_{nullptr};
  std::vector<ConvBn> psp_;
  ConvBn bottleneck_{nullptr};
  std::vector<ConvBn> laterals_;
  std::vector<ConvBn> fpn_;
  ConvBn fpn_bottleneck_{nullptr};
};
TORCH_MODULE(UperHead);

/// One 3x3 convolution and the classifier.
class FcnHeadImpl : public torch::nn::Module {
 public:
  FcnHeadImpl(std::int64_t in_channels, std::int64_t channels, std::int64_t classes,
              const ComputePtr& compute);

  /// x (N, H, W, in_channels) -> (N, H, W, classes)
  torch::Tensor forward(const torch::Tensor& x);

  void set_generator(const at::Generator& generator) { generator_ = generator; }
  void set_dropout(double dropout) { dropout_ = dropout; }

 private:
  double dropout_ = kHeadDropout;
  std::optional<at::Generator> generator_;
  Classifier conv_seg_{nullptr};
  ConvBn conv_{nullptr};
};
TORCH_MODULE(FcnHead);

}  // namespace spatialmamba::nn
