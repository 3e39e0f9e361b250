#pragma once

#include <spdlog/spdlog.h>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "cli/network.h"
#include "model/initialise.h"
#include "spatialmamba/engine.h"
#include "spatialmamba/weights.h"

/// What the engine's networks with a backbone have in common, whatever their task.
namespace spatialmamba::cli {

/// What a task's architecture offers.
template <typename Architecture>
struct TaskModel {
  std::string_view task;
  Architecture (*of_variant)(std::string_view);
  Architecture (*infer)(const TensorMap&);
};

/// Throws UsageError for what the engine does not compute.
void require_engine(const NetworkOptions& options, std::string_view task);

/// In messages.
std::string source_of(const NetworkOptions& options);

Session open_session(const NetworkOptions& options, const Weights& weights);

/// What fits the model, and initial weights for the rest.
template <typename Architecture>
TensorMap completed(const Architecture& architecture, const TensorMap& tensors, const std::string& source,
                    std::uint64_t seed) {
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

/// Those of the file, random ones for an untrained variant, or (--lenient) both.
template <typename Architecture>
Weights task_weights(const NetworkOptions& options, const TaskModel<Architecture>& model) {
  require_engine(options, model.task);
  if (options.untrained) {
    return {initial_weights(tensor_specs(model.of_variant(options.variant)), options.seed), {}};
  }
  Weights weights = read_weights(options.weights, options.ema ? "model_ema" : "");
  if (options.lenient) {
    weights.tensors =
        completed(model.infer(weights.tensors), weights.tensors, source_of(options), options.seed);
  }
  return weights;
}

void require_finite(std::span<const float> values, std::string_view what);
inline std::span<const float> values_of(const Tensor& map) {
  return {map.data<float>(), static_cast<std::size_t>(map.numel())};
}

/// Float32 or float64 as float32.
std::vector<float> as_floats(const Tensor& images);

/// (N, H, W, C) -> (N, C, H, W).
Tensor channels_first(const Tensor& map);

}  // namespace spatialmamba::cli
