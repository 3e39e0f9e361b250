#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "spatialmamba/architecture.h"

namespace spatialmamba {

/// Semantic segmentation: Spatial-Mamba as the backbone of UPerNet, with an FCN head on the side while
/// training. Tensors carry mmsegmentation's names: `backbone.*`, `decode_head.*`, `auxiliary_head.*`.
struct SegmentorArchitecture {
  Architecture backbone;  ///< with backbone = true and at least two stages
  std::int64_t num_classes = 150;
  std::int64_t channels = 512;                     ///< of every map in the decode head
  std::vector<std::int64_t> pools = {1, 2, 3, 6};  ///< sides of the pyramid's pooled maps
  std::int64_t auxiliary_channels = 256;           ///< of the auxiliary head; 0: there is none
  std::int64_t auxiliary_level = 2;                ///< the map it reads
};

/// Throws UsageError where it cannot mean anything.
void validate(const SegmentorArchitecture& architecture);

/// The paper's system on a built-in variant, with 150 classes; the auxiliary head reads the last map but one.
/// Throws UsageError.
SegmentorArchitecture segmentor_of(std::string_view variant);

std::vector<TensorSpec> tensor_specs(const SegmentorArchitecture& architecture);

/// Reads everything but the pools, which no tensor shows, off names and shapes. Throws Error naming the first
/// tensor that does not fit.
SegmentorArchitecture infer_segmentor(const TensorMap& tensors);

/// infer_segmentor() of tensors that must then fit it as a whole. Throws Error with `source` in front and the
/// full lists of compare().
SegmentorArchitecture require_segmentor(const TensorMap& tensors, const std::string& source);

WeightsMismatch compare(const SegmentorArchitecture& architecture, const TensorMap& tensors);

/// Elements of all trainable tensors, the auxiliary head's included (as the paper counts).
std::int64_t count_parameters(const SegmentorArchitecture& architecture);

/// Without the auxiliary head, up to the logits at a quarter of the image's size (as the paper counts). By
/// the rule of the classifier, but for 2 FLOPs per element of a BatchNorm, 4 per value of a resized map and 1
/// per pooled value.
std::vector<LayerCost> layer_costs(const SegmentorArchitecture& architecture, std::int64_t height,
                                   std::int64_t width);
std::int64_t count_flops(const SegmentorArchitecture& architecture, std::int64_t height, std::int64_t width);

}  // namespace spatialmamba
