#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace spatialmamba::metrics {

/// Throws Error naming the first class whose score is NaN or infinite, as a network's answer that went wrong.
void require_finite(std::span<const float> scores);

/// The k classes with the largest scores, best first; of equal scores the lower index comes first. Fewer when
/// there are fewer classes. Throws Error for a score that is not a number.
std::vector<std::int64_t> top_k(std::span<const float> scores, std::int64_t k);

/// Place of `label` in that order, from 0. Throws Error for NaN and for a label that is no class.
std::int64_t rank_of(std::span<const float> scores, std::int64_t label);

/// exp(s) / sum exp(s), computed without overflow. Throws Error for NaN.
std::vector<double> softmax(std::span<const float> scores);

/// -log softmax(scores)[label], computed without overflow. Throws Error for NaN and for a label that is no
/// class.
double cross_entropy(std::span<const float> scores, std::int64_t label);

/// How often class `label` was taken for class `predicted`.
class ConfusionMatrix {
 public:
  explicit ConfusionMatrix(std::int64_t classes);

  /// Throws Error for an index that is no class.
  void add(std::int64_t label, std::int64_t predicted);

  std::int64_t classes() const { return classes_; }
  std::int64_t count(std::int64_t label, std::int64_t predicted) const;
  /// Samples of one class.
  std::int64_t samples(std::int64_t label) const;
  std::int64_t total() const { return total_; }
  /// Share of the diagonal; nothing without samples.
  std::optional<double> accuracy() const;
  /// The share of each class's samples that were recognised (recall); nothing for a class without samples.
  std::vector<std::optional<double>> per_class_accuracy() const;
  /// The matrix, row by row.
  std::span<const std::int64_t> counts() const { return counts_; }
  /// Replaces it. Throws Error for another number of values.
  void set_counts(std::span<const std::int64_t> counts);
  /// A header line and one row per true class; names are quoted where CSV asks for it.
  std::string to_csv(const std::vector<std::string>& names) const;

 private:
  void check(std::int64_t index, const char* what) const;

  std::int64_t classes_;
  std::int64_t total_ = 0;
  std::vector<std::int64_t> counts_;  // [label][predicted]
};

/// Gathers everything that an evaluation reports, one sample at a time.
class ClassificationMeter {
 public:
  explicit ClassificationMeter(std::int64_t classes) : confusion_(classes) {}

  /// `scores` holds one value per class (logits or probabilities).
  void add(std::span<const float> scores, std::int64_t label);

  const ConfusionMatrix& confusion() const { return confusion_; }
  /// All that the meter has counted, for adding up what several processes have: hits, then the matrix.
  std::vector<std::int64_t> counts() const;
  /// The inverse. Throws Error for another number of values.
  void set_counts(std::span<const std::int64_t> counts);
  std::int64_t samples() const { return confusion_.total(); }
  /// Shares of samples whose label is the best, or among the best five; 0 without samples.
  double top1() const { return share(top1_); }
  double top5() const { return share(top5_); }

 private:
  double share(std::int64_t hits) const;

  ConfusionMatrix confusion_;
  std::int64_t top1_ = 0;
  std::int64_t top5_ = 0;
};

}  // namespace spatialmamba::metrics
