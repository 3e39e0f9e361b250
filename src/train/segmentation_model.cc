#include "train/segmentation_model.h"

#include "base/error.h"
#include "nn/state_dict.h"
#include "spatialmamba/task.h"
#include "train/backbone_start.h"
#include "train/evaluation_mode.h"

namespace spatialmamba::train {
namespace {

bool is_pixel_classifier(std::string_view name) {
  return name.find("conv_seg.") != std::string_view::npos;
}

}  // namespace

NamedTensors named_state(const nn::SegmentorImpl& model) {
  return nn::named_state(model, tensor_specs(model.architecture()));
}

void set_element_type(nn::SegmentorImpl& model, torch::ScalarType type) {
  for (const auto& [name, tensor] : named_state(model)) {
    if (tensor.is_floating_point()) tensor.set_data(tensor.detach().to(type));
  }
}

nn::Segmentor average_of(const nn::SegmentorImpl& model, const nn::ModelOptions& options) {
  nn::Segmentor average(model.architecture(), options);
  const NamedTensors from = named_state(model);
  const NamedTensors to = named_state(*average);
  for (std::size_t i = 0; i < to.size(); ++i) to[i].second.set_data(from[i].second.detach().clone());
  for (torch::Tensor& parameter : average->parameters()) parameter.set_requires_grad(false);
  average->eval();
  return average;
}

ParameterGroups segmentation_groups(const NamedTensors& parameters) {
  ParameterGroups groups;
  for (const auto& entry : parameters) {
    if (!entry.second.requires_grad()) continue;
    (entry.first.find("norm") == std::string::npos ? groups.decay : groups.no_decay).push_back(entry);
  }
  return groups;
}

void start_from(nn::SegmentorImpl& model, const TensorMap& tensors, const std::string& source,
                const std::function<void(const std::string&)>& say) {
  const SegmentorArchitecture& architecture = model.architecture();
  TensorMap fitting;
  if (infer_task(tensors) == Task::classification) {
    fitting = backbone_tensors(tensors, architecture.backbone.in_channels);
    say(fmt::format("{}: a classifier, the backbone starts from it", source));
  } else {
    std::vector<std::string> left_out;
    fitting = fitting_tensors(tensors, compare(architecture, tensors), is_pixel_classifier, left_out);
    for (const std::string& name : left_out) {
      say(fmt::format("{}: {} does not fit and starts anew", source, name));
    }
  }
  WeightsMismatch mismatch = compare(architecture, fitting);
  allow_missing_heads(mismatch, fitting);
  nn::load_state(named_state(model), fitting, mismatch, source, architecture.backbone.variant);
}

segmentation::Network network_of(nn::SegmentorImpl& model) {
  return [&model](const segmentation::NetworkInput& input) {
    const EvaluationMode mode(model);
    // from_blob takes no const pointer; the tensor is only read.
    const torch::Tensor view = torch::from_blob(const_cast<float*>(input.values.data()),
                                                {1, input.height, input.width, 3}, torch::kFloat32);
    const torch::ScalarType type = model.parameters().front().scalar_type();
    const torch::Tensor logits = model.forward_maps(view.permute({0, 3, 1, 2}).to(type))
                                     .decode.logits.to(torch::kFloat32)
                                     .contiguous();
    if (!torch::isfinite(logits).all().item<bool>()) fail("the network's class scores are not finite");
    const float* values = logits.const_data_ptr<float>();
    return segmentation::ScoreMap{
        logits.size(1), logits.size(2), logits.size(3), {values, values + logits.numel()}};
  };
}

}  // namespace spatialmamba::train
