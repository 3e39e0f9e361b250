// The segmentor as our engine computes it.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "cli/network_backend.h"
#include "cli/segmentation.h"
#include "model/initialise.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::cli {

struct SegmentationNetwork::Implementation {
  SegmentorArchitecture architecture;
  std::map<std::string, std::string> metadata;
  mutable Session session;  // works in memory of its own
};

namespace {

Weights weights_for(const NetworkOptions& options) {
  if (options.untrained) {
    return {initial_weights(tensor_specs(segmentor_of(options.variant)), options.seed), {}};
  }
  return read_weights(options.weights, options.ema ? "model_ema" : "");
}

/// What fits the model, and initial weights for the rest.
TensorMap completed(const SegmentorArchitecture& architecture, const TensorMap& tensors,
                    const std::string& source, std::uint64_t seed) {
  const WeightsMismatch mismatch = compare(architecture, tensors);
  if (!mismatch.misshaped.empty()) {
    fail("{}: the weights do not fit model {}\n{}", source, architecture.backbone.variant,
         mismatch.describe());
  }
  spdlog::warn("{}:\n{}", source, mismatch.describe());
  TensorMap whole;
  for (const auto& [name, initial] : initial_weights(tensor_specs(architecture), seed)) {
    const Tensor* found = tensors.find(name);
    whole.add(name, found == nullptr ? initial : *found);
  }
  return whole;
}

void require_engine(const NetworkOptions& options) {
  if (options.backend == Backend::torch || options.precision == Precision::fp64) {
    fail_usage("segmentation is computed by the engine, in fp32 or bf16");
  }
}

void require_finite(std::span<const float> values, std::string_view what) {
  if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); })) {
    fail("{}: the network's output there is not finite (NaN or infinite)", what);
  }
}

std::vector<float> as_floats(const Tensor& images) {
  if (images.dtype() == DType::f32) return images.values<float>();
  const std::vector<double> wide = images.values<double>();
  return {wide.begin(), wide.end()};
}

/// (N, H, W, C) -> (N, C, H, W).
Tensor channels_first(const Tensor& map) {
  const Shape& shape = map.shape();
  Tensor moved(DType::f32, {shape[0], shape[3], shape[1], shape[2]});
  const float* from = map.data<float>();
  float* to = moved.mutable_data<float>();
  const std::int64_t pixels = shape[1] * shape[2];
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
      for (std::int64_t c = 0; c < shape[3]; ++c) to[(n * shape[3] + c) * pixels + pixel] = *from++;
    }
  }
  return moved;
}

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
  check_choice(options);
  require_engine(options);
  Weights weights = weights_for(options);
  const std::string source = options.untrained ? options.variant : options.weights.string();
  if (options.lenient) {
    const SegmentorArchitecture architecture = infer_segmentor(weights.tensors);
    weights.tensors = completed(architecture, weights.tensors, source, options.seed);
  }
  const ModelOptions how{.precision = options.precision == Precision::bf16 ? EnginePrecision::bf16
                                                                           : EnginePrecision::fp32};
  const SegmentorArchitecture architecture = require_segmentor(weights.tensors, source);
  return SegmentationNetwork(std::make_shared<Implementation>(
      Implementation{architecture, weights.metadata,
                     Session(Model::build(weights, how, source), {.threads = options.threads})}));
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
    require_finite({map.data<float>(), static_cast<std::size_t>(map.numel())}, name);
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
