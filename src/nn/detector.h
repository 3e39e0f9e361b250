#pragma once

#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

#include "detection/select.h"
#include "nn/detection_heads.h"
#include "nn/spatial_mamba.h"
#include "spatialmamba/detector.h"

namespace spatialmamba::nn {

/// What is computed on whole images; maps are (N, H, W, C).
struct DetectorMaps {
  std::vector<torch::Tensor> backbone;
  std::vector<torch::Tensor> pyramid;
  std::vector<RpnMap> rpn;  ///< one per level of the pyramid

  /// "backbone.0" ..., "fpn.0" ..., "rpn_cls.0" ..., "rpn_reg.0" ..., as (N, C, H, W).
  std::vector<std::pair<std::string, torch::Tensor>> named() const;
};

/// Mask R-CNN. Parameters and buffers carry mmdetection's names. Values are not initialised by the
/// constructor: call initialise() or load_state().
class DetectorImpl : public torch::nn::Module {
 public:
  /// Throws UsageError for an architecture that cannot be built.
  explicit DetectorImpl(DetectorArchitecture architecture, const ModelOptions& options = {});

  /// images (N, in_channels, H, W), sides multiples of 32.
  DetectorMaps forward_maps(const torch::Tensor& images);

  /// The best boxes of each image, whose extents are those without padding.
  std::vector<detection::Proposals> propose(const DetectorMaps& maps,
                                            const std::vector<detection::Extent>& images,
                                            const detection::ProposalSettings& settings) const;
  /// rois (R, 5): image, x1, y1, x2, y2 in pixels of the input.
  BoxAnswer classify(const DetectorMaps& maps, const torch::Tensor& rois);
  /// -> logits (R, 28, 28, classes)
  torch::Tensor outline(const DetectorMaps& maps, const torch::Tensor& rois);
  /// The pooled features that classify() reads, (R, 7, 7, C).
  torch::Tensor pool_boxes(const DetectorMaps& maps, const torch::Tensor& rois) const;

  const DetectorArchitecture& architecture() const { return architecture_; }
  SpatialMamba& backbone() { return backbone_; }
  const SpatialMamba& backbone() const { return backbone_; }
  torch::ScalarType element_type() const;
  /// Where drop path draws from; LibTorch's default generator unless set.
  void set_generator(const at::Generator& generator) { backbone_->set_generator(generator); }

 private:
  DetectorArchitecture architecture_;
  SpatialMamba backbone_{nullptr};
  FeaturePyramid neck_{nullptr};
  RpnHead rpn_head_{nullptr};
  BoxHead bbox_head_{nullptr};
  MaskHead mask_head_{nullptr};
};
TORCH_MODULE(Detector);

/// Boxes of several images as one table (R, 5) of the given type.
torch::Tensor roi_table(const std::vector<std::vector<detection::Box>>& boxes, torch::ScalarType type);

/// What was found in one image, with the logits of each mask.
struct ImageDetections {
  detection::Detections found;  ///< boxes in pixels of the input
  std::vector<float> masks;     ///< [n][28][28], the logits of the found class
};

/// The whole of inference for a batch, in evaluation mode and without gradients. Throws Error when an answer
/// of the network is not finite.
std::vector<ImageDetections> run_detector(DetectorImpl& model, const torch::Tensor& images,
                                          const std::vector<detection::Extent>& extents,
                                          const detection::ProposalSettings& proposals,
                                          const detection::DetectionSettings& settings);

/// Fills everything anew: the backbone as the classifier's, the heads as mmdetection does (pyramid and linear
/// layers Xavier uniform, proposal network normal with std 0.01, mask convolutions normal with variance 2 /
/// fan_out, classifiers normal with std 0.01, box regression with std 0.001; biases 0).
void initialise(DetectorImpl& model, std::uint64_t seed);

}  // namespace spatialmamba::nn
