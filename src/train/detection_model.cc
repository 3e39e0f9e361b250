#include "train/detection_model.h"

#include "base/error.h"
#include "train/backbone_start.h"
#include "train/evaluation_mode.h"

namespace spatialmamba::train {
namespace {

/// Layers whose size depends on the number of classes.
bool tells_classes(std::string_view name) {
  return name.find("fc_cls.") != std::string_view::npos || name.find("fc_reg.") != std::string_view::npos ||
         name.find("conv_logits.") != std::string_view::npos;
}

}  // namespace

void start_from(nn::DetectorImpl& model, const TensorMap& tensors, const std::string& source,
                const std::function<void(const std::string&)>& say) {
  start_network(model, tensors, source, tells_classes, say);
}

detection::Network network_of(nn::DetectorImpl& model) {
  return [&model](const detection::NetworkInput& input, const detection::ProposalSettings& proposals,
                  const detection::DetectionSettings& settings) {
    const EvaluationMode mode(model);
    // from_blob takes no const pointer; the tensor is only read.
    const torch::Tensor view = torch::from_blob(const_cast<float*>(input.values.data()),
                                                {1, input.height, input.width, 3}, torch::kFloat32);
    auto results = nn::run_detector(model, view.permute({0, 3, 1, 2}).to(model.element_type()), {input.image},
                                    proposals, settings);
    return detection::NetworkAnswer{std::move(results[0].found), std::move(results[0].masks)};
  };
}

}  // namespace spatialmamba::train
