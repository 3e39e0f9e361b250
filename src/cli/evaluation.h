#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <vector>

#include "cli/model_card.h"
#include "cli/network.h"
#include "data/dataset.h"
#include "metrics/classification.h"

namespace spatialmamba::cli {

/// What the network said about one sample.
struct Verdict {
  std::int64_t sample = 0;
  std::int64_t predicted = 0;
  double probability = 0.0;
};

struct Evaluation {
  explicit Evaluation(std::int64_t classes) : meter(classes) {}

  metrics::ClassificationMeter meter;
  double loss_sum = 0.0;
  std::int64_t skipped = 0;  ///< broken pictures
  double seconds = 0.0;
  std::vector<Verdict> examples;  ///< evenly spread over the data set
};

struct EvaluationOptions {
  std::int64_t batch = 32;
  int threads = 1;
  bool strict = false;
  std::int64_t examples = 64;
};

/// Runs the network over the whole data set, with a progress bar. Throws Error for logits that are not
/// finite.
Evaluation evaluate(const Network& network, const ModelCard& card, const data::Dataset& dataset,
                    const EvaluationOptions& options);

/// Writes confusion.csv, confusion.png and grid.png into a folder.
void write_pictures(const std::filesystem::path& folder, const Evaluation& evaluation,
                    const data::Dataset& dataset, const std::vector<std::string>& classes);

}  // namespace spatialmamba::cli
