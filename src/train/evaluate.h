#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/loader.h"
#include "distributed/group.h"
#include "image/transform.h"
#include "metrics/classification.h"
#include "nn/spatial_mamba.h"

namespace spatialmamba::train {

/// The logits of a batch, [n][classes].
using Forward = std::function<std::vector<float>(data::Batch&)>;

struct EvaluateOptions {
  std::int64_t batch = 64;
  int workers = 2;
  bool strict = false;             ///< stop at the first broken image
  std::string label = "evaluate";  ///< of the progress bar
  /// Processes that share the samples, each its batches, and add up what they counted; null: this one alone.
  std::shared_ptr<distributed::Group> group = nullptr;
  /// Asked between batches; true gives up.
  std::function<bool()> stop = [] { return false; };
  /// Told of each sample of the data set and its logits.
  std::function<void(std::int64_t, std::span<const float>)> observe = [](std::int64_t,
                                                                         std::span<const float>) {};
};

struct Evaluation {
  metrics::ClassificationMeter meter;
  double loss = 0.0;                      ///< mean cross-entropy against the labels
  std::vector<std::string> skipped = {};  ///< one sentence for each broken image
};

/// Runs a network of so many classes over a data set, in its stored order, with a progress bar. Nothing when
/// stopped, by any process of a group. All of a group get the same counts; `observe` and `skipped` know of
/// this process's samples only. Throws Error when the data have another number of classes, and naming the
/// sample whose logits are not finite.
std::optional<Evaluation> evaluate(const Forward& forward, std::int64_t classes, const data::Dataset& dataset,
                                   const image::EvalTransform& transform, const EvaluateOptions& options);

/// The same with a model, in evaluation mode.
std::optional<Evaluation> evaluate(nn::SpatialMambaImpl& model, const data::Dataset& dataset,
                                   const image::EvalTransform& transform, const EvaluateOptions& options);

}  // namespace spatialmamba::train
