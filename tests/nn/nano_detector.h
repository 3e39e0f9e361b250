#pragma once

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/file.h"
#include "nn/detection_losses.h"
#include "nn/state_dict.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::test {

inline TensorMap detection_golden(const std::string& name) {
  return read_safetensors(golden("detection/" + name + ".safetensors")).tensors;
}

inline nlohmann::json detection_json(const std::string& name) {
  return nlohmann::json::parse(read_text(golden("detection/" + name + ".json")));
}

/// The small Mask R-CNN of the golden data.
inline nn::Detector nano_detector(torch::ScalarType type = torch::kFloat32) {
  const TensorMap tensors = detection_golden("nano/weights");
  const DetectorArchitecture architecture = infer_detector(tensors);
  nn::Detector model(architecture);
  model->to(type);
  nn::load_state(nn::named_state(*model, tensor_specs(architecture)), tensors, compare(architecture, tensors),
                 "nano/weights", architecture.backbone.variant);
  return model;
}

inline detection::Extent extent_of(const nlohmann::json& height_width) {
  return {height_width.at(0), height_width.at(1)};
}

inline std::vector<detection::Box> boxes_of(const Tensor& tensor) {
  const std::vector<float> values = tensor.values<float>();
  std::vector<detection::Box> boxes;
  for (std::size_t i = 0; i < values.size(); i += 4) {
    boxes.push_back({values[i], values[i + 1], values[i + 2], values[i + 3]});
  }
  return boxes;
}

/// The targets of a batch whose tensors begin with `prefix` ("batch0.", or nothing).
inline std::vector<nn::DetectionTarget> golden_targets(const TensorMap& tensors, const std::string& prefix,
                                                       const nlohmann::json& metas) {
  std::vector<nn::DetectionTarget> targets;
  for (const auto& meta : metas) {
    const std::string name = prefix + "img" + std::to_string(targets.size()) + ".";
    nn::DetectionTarget& target = targets.emplace_back();
    target.image = extent_of(meta.at("img_shape"));
    target.padded = extent_of(meta.at("pad_shape"));
    target.boxes = boxes_of(tensors.at(name + "gt_bboxes"));
    target.labels = tensors.at(name + "gt_labels").values<std::int64_t>();
    target.ignored = boxes_of(tensors.at(name + "ignored_bboxes"));
    const Tensor& masks = tensors.at(name + "gt_masks");
    target.masks = masks.values<std::uint8_t>();
    target.mask = {masks.shape()[1], masks.shape()[2]};
  }
  return targets;
}

/// Attempts at being on the reference's side of every ReLU. ReLU has no gradient at 0, and of the 600,000
/// values in front of the mask head's ReLUs the odd one is 0 but for rounding (2e-7 of the others): the side
/// on which the reference found itself moves the gradients of everything below by 2e-3 and more. So weights
/// that differ from the stored ones by rounding are tried as well.
inline constexpr std::uint64_t kAttempts = 32;

/// Moves every parameter by at most 1e-6 of itself, which is what features differ by between two ways of
/// summing.
inline void nudge(nn::DetectorImpl& model, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  constexpr int kUnits = 8;
  torch::manual_seed(seed);
  for (torch::Tensor& parameter : model.parameters()) {
    parameter.mul_(1.0 + std::numeric_limits<float>::epsilon() *
                             torch::randint_like(parameter, -kUnits, kUnits + 1));
  }
}

/// Draws nothing: every box that may be sampled is.
class EverythingChooser : public nn::SampleChooser {
 public:
  detection::Sample rpn(std::size_t, const detection::Sampler&,
                        const detection::Assignment& assignment) override {
    return all(assignment);
  }
  detection::Sample heads(std::size_t, const detection::Sampler&,
                          const detection::Assignment& assignment) override {
    return all(assignment);
  }

 private:
  static detection::Sample all(const detection::Assignment& assignment) {
    Random unused(0);
    const auto count = static_cast<std::int64_t>(4 * assignment.objects.size());
    return detection::draw_sample({.count = count, .positive_share = 0.5}, assignment, unused);
  }
};

}  // namespace spatialmamba::test
