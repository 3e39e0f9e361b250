#include "train/backbone_start.h"

#include <algorithm>

#include "nn/state_dict.h"

namespace spatialmamba::train {
namespace {

constexpr std::string_view kBackbone = "backbone.";
constexpr std::string_view kStage = "backbone.layers.";

/// The first stage of which there is no block.
std::int64_t first_missing_stage(const TensorMap& tensors) {
  std::int64_t stage = 0;
  while (tensors.contains(fmt::format("{}{}.blocks.0.ln_1.weight", kStage, stage))) ++stage;
  return stage;
}

}  // namespace

TensorMap backbone_tensors(const TensorMap& classifier, std::int64_t in_channels) {
  TensorMap tensors;
  for (const auto& [name, tensor] : classifier) {
    if (name.starts_with("head.") || name.starts_with("norm.")) continue;
    const bool first = name == "patch_embed.conv1.conv.weight";
    if (first && tensor.shape().size() == 4 && tensor.shape()[1] == 1 && in_channels > 1) {
      const torch::Tensor grey = nn::to_torch(tensor);
      tensors.add(std::string(kBackbone) + name,
                  nn::from_torch(grey.repeat({1, in_channels, 1, 1}) / static_cast<double>(in_channels)));
    } else {
      tensors.add(std::string(kBackbone) + name, tensor);
    }
  }
  return tensors;
}

TensorMap fitting_tensors(const TensorMap& tensors, const WeightsMismatch& mismatch,
                          const std::function<bool(std::string_view)>& may_differ,
                          std::vector<std::string>& left_out) {
  TensorMap fitting;
  for (const auto& [name, tensor] : tensors) {
    const bool misshaped = std::ranges::any_of(
        mismatch.misshaped, [&](const std::string& sentence) { return sentence.starts_with(name + " "); });
    if (misshaped && may_differ(name)) {
      left_out.push_back(name);
    } else {
      fitting.add(name, tensor);
    }
  }
  return fitting;
}

void allow_missing_heads(WeightsMismatch& mismatch, const TensorMap& tensors) {
  const std::int64_t stages = first_missing_stage(tensors);
  std::erase_if(mismatch.missing, [&](const std::string& name) {
    if (!name.starts_with(kBackbone) || name.starts_with("backbone.outnorm")) return true;
    if (stages == 0 || !name.starts_with(kStage)) return false;
    const std::int64_t stage = std::stoll(name.substr(kStage.size()));
    return stage >= stages || (stage == stages - 1 && name.find(".downsample.") != std::string::npos);
  });
}

}  // namespace spatialmamba::train
