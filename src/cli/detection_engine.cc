// The detector as our engine computes it.
#include <fmt/format.h>

#include "cli/detection.h"
#include "cli/task_engine.h"
#include "detector/run.h"

namespace spatialmamba::cli {

struct DetectionNetwork::Implementation {
  DetectorArchitecture architecture;
  std::map<std::string, std::string> metadata;
  mutable Session session;  // works in memory of its own
};

DetectionNetwork DetectionNetwork::open(const NetworkOptions& options) {
  const Weights weights =
      task_weights<DetectorArchitecture>(options, {"detection", detector_of, infer_detector});
  const DetectorArchitecture architecture = require_detector(weights.tensors, source_of(options));
  return DetectionNetwork(std::make_shared<Implementation>(
      Implementation{architecture, weights.metadata, open_session(options, weights)}));
}

const DetectorArchitecture& DetectionNetwork::architecture() const {
  return implementation_->architecture;
}

const std::map<std::string, std::string>& DetectionNetwork::metadata() const {
  return implementation_->metadata;
}

detection::Network DetectionNetwork::network() const {
  return [implementation = implementation_](const detection::NetworkInput& input,
                                            const detection::ProposalSettings& proposals,
                                            const detection::DetectionSettings& settings) {
    return detection::network_of(implementation->session)(input, proposals, settings);
  };
}

TensorMap DetectionNetwork::maps(const Tensor& images) const {
  Session& session = implementation_->session;
  const std::vector<float> pixels = as_floats(images);
  const Shape& shape = images.shape();
  const ImageBatch batch{.data = pixels.data(),
                         .count = shape[0],
                         .height = shape[2],
                         .width = shape[3],
                         .layout = ImageBatch::Layout::nchw};
  TensorMap out;
  for (const auto& [name, map] : session.stages(batch)) {
    require_finite(values_of(map), name);
    if (!name.starts_with("patch_embed") && !name.starts_with("layers.")) out.add(name, channels_first(map));
  }
  const std::vector<detection::Extent> extents(static_cast<std::size_t>(shape[0]), {shape[2], shape[3]});
  const auto answers = detection::run(session, batch, extents, {}, {});
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const detection::Detections& found = answers[i].found;
    const auto coordinates = detection::coordinates(found.boxes);
    const std::int64_t n = found.size();
    const auto name = [&](const char* what) { return fmt::format("img{}.{}", i, what); };
    out.add(name("det_bboxes"), Tensor::from<float>({n, 4}, {coordinates.begin(), coordinates.end()}));
    out.add(name("det_scores"), Tensor::from<float>({n}, found.scores));
    out.add(name("det_labels"), Tensor::from<std::int64_t>({n}, found.labels));
    out.add(name("mask_logits"), Tensor::from<float>({n, kMaskSize, kMaskSize}, answers[i].masks));
  }
  return out;
}

}  // namespace spatialmamba::cli
