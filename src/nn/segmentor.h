#pragma once

#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

#include "nn/segmentation_heads.h"
#include "nn/spatial_mamba.h"
#include "spatialmamba/segmentor.h"

namespace spatialmamba::nn {

/// What the network computes on the way; maps are (N, H, W, C).
struct SegmentorMaps {
  std::vector<torch::Tensor> backbone;
  UperMaps decode;
  torch::Tensor
      auxiliary;  ///< class scores of the auxiliary head; undefined without one or when not asked for

  /// "backbone.0" ..., "psp", "fused", "decode_logits_stride4", "aux_logits_stride16", as (N, C, H, W).
  std::vector<std::pair<std::string, torch::Tensor>> named() const;
};

/// Backbone, UPerNet decode head, auxiliary head. Parameters and buffers carry mmsegmentation's names. Values
/// are not initialised by the constructor: call initialise() or load_weights().
class SegmentorImpl : public torch::nn::Module {
 public:
  /// Throws UsageError for an architecture that cannot be built.
  explicit SegmentorImpl(SegmentorArchitecture architecture, const ModelOptions& options = {});

  /// images (N, in_channels, H, W) -> class scores at the images' size, (N, classes, H, W).
  torch::Tensor forward(const torch::Tensor& images);
  SegmentorMaps forward_maps(const torch::Tensor& images, bool with_auxiliary = false);

  const SegmentorArchitecture& architecture() const { return architecture_; }
  SpatialMamba& backbone() { return backbone_; }
  const SpatialMamba& backbone() const { return backbone_; }
  /// Where drop path and dropout draw from; LibTorch's default generator unless set.
  void set_generator(const at::Generator& generator);
  /// Of the heads, in training; the reference's 0.1 unless set.
  void set_dropout(double dropout);

 private:
  SegmentorArchitecture architecture_;
  SpatialMamba backbone_{nullptr};
  UperHead decode_head_{nullptr};
  FcnHead auxiliary_head_{nullptr};
};
TORCH_MODULE(Segmentor);

/// Fills everything anew: the backbone as the classifier's, the heads as mmsegmentation does (convolutions
/// normal with variance 2 / fan_out, norms 1 and 0, classifiers normal with std 0.01 and bias 0).
void initialise(SegmentorImpl& model, std::uint64_t seed);

}  // namespace spatialmamba::nn
