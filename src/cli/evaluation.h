#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "metrics/classification.h"

namespace spatialmamba::cli {

/// Remembers what a network said about samples that are evenly spread over a data set.
class Examples {
 public:
  explicit Examples(std::int64_t data_size) : data_size_(data_size) {}

  void observe(std::int64_t sample, std::span<const float> logits);

  /// A picture of all of them, wrong ones marked.
  void write(const std::filesystem::path& path, const data::Dataset& dataset) const;

 private:
  struct Verdict {
    std::int64_t sample;
    std::int64_t predicted;
    double probability;
  };

  std::int64_t data_size_;
  std::vector<Verdict> verdicts_;
};

/// Writes confusion.csv and confusion.png into a folder.
void write_confusion(const std::filesystem::path& folder, const metrics::ConfusionMatrix& confusion,
                     const std::vector<std::string>& classes);

}  // namespace spatialmamba::cli
