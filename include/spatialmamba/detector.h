#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "spatialmamba/architecture.h"

namespace spatialmamba {

/// Detection and instance segmentation: Spatial-Mamba as the backbone of Mask R-CNN with a feature pyramid.
/// Tensors carry mmdetection's names: `backbone.*`, `neck.*`, `rpn_head.*`, `roi_head.*`.
struct DetectorArchitecture {
  Architecture backbone;  ///< with backbone = true and four stages
  std::int64_t num_classes = 80;
  std::int64_t channels = 256;       ///< of the pyramid's maps
  std::int64_t rpn_channels = 256;   ///< inside the region proposal network
  std::int64_t fc_channels = 1024;   ///< of the box head's two linear layers
  std::int64_t mask_channels = 256;  ///< of the mask head's convolutions
};

inline constexpr std::int64_t kPyramidLevels = 5;  ///< at strides 4, 8, 16, 32, 64
inline constexpr std::int64_t kPooledLevels = 4;   ///< the first of them, which boxes are pooled from
inline constexpr std::int64_t kAnchorShapes = 3;   ///< per place
inline constexpr std::int64_t kBoxBins = 7;        ///< per side of a box's pooled features
inline constexpr std::int64_t kMaskBins = 14;      ///< the same for the mask head
inline constexpr std::int64_t kMaskSize = 28;      ///< side of a predicted mask
inline constexpr std::int64_t kMaskConvolutions = 4;
inline constexpr std::int64_t kImageMultiple = 32;  ///< the sides of a batch are padded to

/// Throws UsageError where it cannot mean anything.
void validate(const DetectorArchitecture& architecture);

/// The paper's system on a built-in variant of four stages, with COCO's 80 classes. Throws UsageError.
DetectorArchitecture detector_of(std::string_view variant);

std::vector<TensorSpec> tensor_specs(const DetectorArchitecture& architecture);

/// Reads everything off names and shapes. Throws Error naming the first tensor that does not fit.
DetectorArchitecture infer_detector(const TensorMap& tensors);

/// infer_detector() of tensors that must then fit it as a whole. Throws Error with `source` in front and the
/// full lists of compare().
DetectorArchitecture require_detector(const TensorMap& tensors, const std::string& source);

WeightsMismatch compare(const DetectorArchitecture& architecture, const TensorMap& tensors);

/// Elements of all trainable tensors.
std::int64_t count_parameters(const DetectorArchitecture& architecture);

/// How many boxes the heads are counted for.
struct DetectorLoad {
  std::int64_t proposals = 1000;
  std::int64_t detections = 100;
};

/// As the paper counts: by the rule of the classifier, but for 2 FLOPs per element of a BatchNorm and 1 per
/// value of an enlarged map.
std::vector<LayerCost> layer_costs(const DetectorArchitecture& architecture, std::int64_t height,
                                   std::int64_t width, const DetectorLoad& load = {});
std::int64_t count_flops(const DetectorArchitecture& architecture, std::int64_t height, std::int64_t width,
                         const DetectorLoad& load = {});

/// The names of COCO's 80 classes, in the order of the labels.
const std::vector<std::string>& coco_classes();

}  // namespace spatialmamba
