#include "train/segmentation_model.h"

#include "base/error.h"
#include "train/backbone_start.h"
#include "train/evaluation_mode.h"

namespace spatialmamba::train {
namespace {

bool is_pixel_classifier(std::string_view name) {
  return name.find("conv_seg.") != std::string_view::npos;
}

}  // namespace

void start_from(nn::SegmentorImpl& model, const TensorMap& tensors, const std::string& source,
                const std::function<void(const std::string&)>& say) {
  start_network(model, tensors, source, is_pixel_classifier, say);
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
