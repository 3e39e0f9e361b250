// The segmentor as our engine computes it.
#include "cli/segmentation.h"
#include "cli/task_engine.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::cli {

struct SegmentationNetwork::Implementation {
  SegmentorArchitecture architecture;
  std::map<std::string, std::string> metadata;
  mutable Session session;  // works in memory of its own
};

namespace {

/// Scores at a quarter of the images' size -> at their size, (N, H, W, classes) both.
Tensor at_full_size(const Tensor& scores, std::int64_t height, std::int64_t width) {
  const Shape& shape = scores.shape();
  Tensor full(DType::f32, {shape[0], height, width, shape[3]});
  const std::int64_t values = shape[1] * shape[2] * shape[3];
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    const float* from = scores.data<float>() + n * values;
    auto map = std::make_shared<const segmentation::ScoreMap>(
        segmentation::ScoreMap{shape[1], shape[2], shape[3], {from, from + values}});
    const segmentation::ScoreRows rows =
        segmentation::resized(segmentation::rows_of(std::move(map)), height, width);
    float* to = full.mutable_data<float>() + n * height * width * shape[3];
    for (std::int64_t y = 0; y < height; ++y, to += rows.row_values()) rows.read(y, {to, rows.row_values()});
  }
  return full;
}

}  // namespace

SegmentationNetwork SegmentationNetwork::open(const NetworkOptions& options) {
  const Weights weights =
      task_weights<SegmentorArchitecture>(options, {"segmentation", segmentor_of, infer_segmentor});
  const SegmentorArchitecture architecture = require_segmentor(weights.tensors, source_of(options));
  return SegmentationNetwork(std::make_shared<Implementation>(
      Implementation{architecture, weights.metadata, open_session(options, weights)}));
}

const SegmentorArchitecture& SegmentationNetwork::architecture() const {
  return implementation_->architecture;
}

const std::map<std::string, std::string>& SegmentationNetwork::metadata() const {
  return implementation_->metadata;
}

segmentation::Network SegmentationNetwork::network() const {
  return [implementation = implementation_](const segmentation::NetworkInput& input) {
    const ScoreMaps scores = implementation->session.scores(
        {.data = input.values.data(), .count = 1, .height = input.height, .width = input.width});
    require_finite(scores.values, "class scores");
    return segmentation::ScoreMap{
        scores.height, scores.width, scores.classes, {scores.values.begin(), scores.values.end()}};
  };
}

TensorMap SegmentationNetwork::maps(const Tensor& images) const {
  const std::vector<float> pixels = as_floats(images);
  const Shape& shape = images.shape();
  TensorMap maps;
  for (const auto& [name, map] : implementation_->session.stages({.data = pixels.data(),
                                 .count = shape[0],
                                 .height = shape[2],
                                 .width = shape[3],
                                 .layout = ImageBatch::Layout::nchw})) {
    require_finite(values_of(map), name);
    if (name == "logits") {
      maps.add("decode_logits_stride4", channels_first(map));
      maps.add(name, channels_first(at_full_size(map, shape[2], shape[3])));
    } else if (name.starts_with("backbone.") || name == "psp" || name == "fused") {
      maps.add(name, channels_first(map));
    }
  }
  return maps;
}

}  // namespace spatialmamba::cli
