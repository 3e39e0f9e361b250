#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "detection/boxes.h"
#include "image/rle.h"
#include "kernels/isa.h"

namespace spatialmamba::detection {

struct ProposalSettings {
  std::int64_t per_level = 1000;  ///< best boxes of each level that compete
  std::int64_t per_image = 1000;  ///< that are kept
  float nms = 0.7F;               ///< within a level
};

/// One level of the region proposal network's answer for one image. Both point at rows of cells (y, x).
struct ProposalLevel {
  std::span<const float> scores;  ///< [cells][shapes], logits
  std::span<const float> deltas;  ///< [cells][shapes][4]
  std::span<const Box> anchors;   ///< [cells][shapes]
};

struct Proposals {
  std::vector<Box> boxes;  ///< best first
  std::vector<float> scores;
};

/// Boxes that may hold an object: the best of each level, decoded, clipped to the image, without those that
/// have no extent, thinned out by non-maximum suppression.
Proposals propose(std::span<const ProposalLevel> levels, const Extent& image,
                  const ProposalSettings& settings, kernels::Isa isa);

struct DetectionSettings {
  float score = 0.05F;           ///< strictly above
  float nms = 0.5F;              ///< within a class
  std::int64_t per_image = 100;  ///< -1: all
  float mask = 0.5F;             ///< a pixel belongs to the object from here on
};

struct Detections {
  std::vector<Box> boxes;  ///< best first
  std::vector<float> scores;
  std::vector<std::int64_t> labels;
  std::int64_t candidates = 0;  ///< that suppression left, before the limit per image

  std::int64_t size() const { return static_cast<std::int64_t>(boxes.size()); }
};

/// The box head's answer for the proposals of one image -> detections. logits [n][classes + 1], background
/// last; deltas [n][classes][4], with the deviations of the box head.
Detections detect(std::span<const Box> proposals, std::span<const float> logits,
                  std::span<const float> deltas, std::int64_t classes, const Extent& image,
                  const DetectionSettings& settings, kernels::Isa isa);

/// The box head's coder.
inline constexpr BoxCoder kBoxHeadCoder{{0.1F, 0.1F, 0.2F, 0.2F}};

/// The outline of a detection in a picture: `logits` [size][size] of its class stretched over its box.
image::Rle outline(std::span<const float> logits, std::int64_t size, const Box& box, const Extent& picture,
                   float threshold, kernels::Isa isa);

}  // namespace spatialmamba::detection
