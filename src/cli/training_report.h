#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "metrics/classification.h"

namespace spatialmamba::cli {

/// What a training run's best weights get right and wrong, as a page with pictures.
class TrainingReport {
 public:
  explicit TrainingReport(const data::Dataset& validation);

  void observe(std::int64_t sample, std::span<const float> logits);

  /// Writes report.html into the run's folder, with confusion.csv, confusion.png and mistakes.png beside it;
  /// curves.png is there already. `summary` is what summary.json holds.
  void write(const std::filesystem::path& folder, const nlohmann::ordered_json& summary) const;

 private:
  struct Mistake {
    std::int64_t sample;
    std::int64_t predicted;
    double confidence;
  };
  bool write_mistakes(const std::filesystem::path& path) const;

  const data::Dataset& validation_;
  metrics::ConfusionMatrix confusion_;
  std::vector<Mistake> mistakes_;
};

}  // namespace spatialmamba::cli
