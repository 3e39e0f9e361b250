#pragma once

#include <functional>
#include <optional>
#include <string>

#include "data/dataset.h"
#include "image/transform.h"
#include "metrics/classification.h"
#include "nn/spatial_mamba.h"

namespace spatialmamba::train {

struct EvaluateOptions {
  std::int64_t batch = 64;
  int workers = 2;
  bool strict = false;             ///< stop at the first broken image
  std::string label = "evaluate";  ///< of the progress bar
  /// Asked between batches; true gives up.
  std::function<bool()> stop = [] { return false; };
};

struct Evaluation {
  metrics::ClassificationMeter meter;
  double loss = 0.0;                      ///< mean cross-entropy against the labels
  std::vector<std::string> skipped = {};  ///< one sentence for each broken image
};

/// Runs a model in evaluation mode over a data set, in its stored order. Nothing when stopped. Throws Error
/// when the model's classes are not as many as the data's, or its output is not finite.
std::optional<Evaluation> evaluate(nn::SpatialMambaImpl& model, const data::Dataset& dataset,
                                   const image::EvalTransform& transform, const EvaluateOptions& options);

}  // namespace spatialmamba::train
