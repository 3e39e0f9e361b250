#include "train/detection_model.h"

#include <algorithm>

#include "base/error.h"
#include "nn/state_dict.h"
#include "spatialmamba/task.h"
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

NamedTensors named_state(const nn::DetectorImpl& model) {
  return nn::named_state(model, tensor_specs(model.architecture()));
}

void set_element_type(nn::DetectorImpl& model, torch::ScalarType type) {
  for (const auto& [name, tensor] : named_state(model)) {
    if (tensor.is_floating_point()) tensor.set_data(tensor.detach().to(type));
  }
}

nn::Detector average_of(const nn::DetectorImpl& model, const nn::ModelOptions& options) {
  nn::Detector average(model.architecture(), options);
  const NamedTensors from = named_state(model);
  const NamedTensors to = named_state(*average);
  for (std::size_t i = 0; i < to.size(); ++i) to[i].second.set_data(from[i].second.detach().clone());
  for (torch::Tensor& parameter : average->parameters()) parameter.set_requires_grad(false);
  average->eval();
  return average;
}

ParameterGroups detection_groups(const NamedTensors& parameters) {
  ParameterGroups groups;
  for (const auto& entry : parameters) {
    if (!entry.second.requires_grad()) continue;
    (entry.first.find("norm") == std::string::npos ? groups.decay : groups.no_decay).push_back(entry);
  }
  return groups;
}

void start_from(nn::DetectorImpl& model, const TensorMap& tensors, const std::string& source,
                const std::function<void(const std::string&)>& say) {
  const DetectorArchitecture& architecture = model.architecture();
  std::vector<std::string> left_out;
  TensorMap fitting;
  if (infer_task(tensors) == Task::classification) {
    fitting = backbone_tensors(tensors, architecture.backbone.in_channels);
    say(fmt::format("{}: a classifier, the backbone starts from it", source));
  } else {
    fitting = fitting_tensors(tensors, compare(architecture, tensors), tells_classes, left_out);
    for (const std::string& name : left_out)
      say(fmt::format("{}: {} does not fit and starts anew", source, name));
  }
  WeightsMismatch mismatch = compare(architecture, fitting);
  allow_missing_heads(mismatch, fitting);
  nn::load_state(named_state(model), fitting, mismatch, source, architecture.backbone.variant);
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
