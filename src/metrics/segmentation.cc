#include "metrics/segmentation.h"

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace spatialmamba::metrics {
namespace {

constexpr std::int64_t kMostClasses = 255;

void add_counts(std::vector<float>& sums, const std::vector<std::int64_t>& counts) {
  for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += static_cast<float>(counts[i]);
}

/// Nothing for 0 / 0.
std::vector<std::optional<double>> ratios(const std::vector<float>& parts, const std::vector<float>& wholes) {
  std::vector<std::optional<double>> shares(parts.size());
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (wholes[i] > 0.0F) shares[i] = static_cast<double>(parts[i] / wholes[i]);
  }
  return shares;
}

double mean_of_defined(const std::vector<std::optional<double>>& shares) {
  double sum = 0.0;
  int defined = 0;
  for (const std::optional<double>& share : shares) {
    sum += share.value_or(0.0);
    defined += share ? 1 : 0;
  }
  return defined > 0 ? sum / defined : std::nan("");
}

double sum_of(const std::vector<float>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0);
}

}  // namespace

SegmentationMeter::SegmentationMeter(std::int64_t classes) {
  if (classes < 1 || classes > kMostClasses) {
    fail("label maps of 8 bits tell 1 to {} classes apart, not {}", kMostClasses, classes);
  }
  const auto n = static_cast<std::size_t>(classes);
  intersection_.resize(n);
  union_.resize(n);
  predicted_.resize(n);
  labelled_.resize(n);
}

void SegmentationMeter::add(std::span<const std::uint8_t> predicted, std::span<const std::uint8_t> labels) {
  if (predicted.size() != labels.size()) {
    fail("{} predictions were given for {} labels", predicted.size(), labels.size());
  }
  const std::size_t n = intersection_.size();
  std::vector<std::int64_t> right(n);
  std::vector<std::int64_t> guessed(n);
  std::vector<std::int64_t> true_pixels(n);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == kIgnoredLabel) continue;
    if (labels[i] >= n || predicted[i] >= n) {
      fail("pixel {} is labelled {} and predicted {}, expected classes below {}", i, labels[i], predicted[i],
           n);
    }
    ++guessed[predicted[i]];
    ++true_pixels[labels[i]];
    if (predicted[i] == labels[i]) ++right[labels[i]];
  }
  std::vector<std::int64_t> either(n);
  for (std::size_t i = 0; i < n; ++i) either[i] = guessed[i] + true_pixels[i] - right[i];
  add_counts(intersection_, right);
  add_counts(union_, either);
  add_counts(predicted_, guessed);
  add_counts(labelled_, true_pixels);
  ++images_;
}

SegmentationScores SegmentationMeter::scores() const {
  SegmentationScores scores;
  scores.iou = ratios(intersection_, union_);
  scores.accuracy = ratios(intersection_, labelled_);
  scores.mean_iou = mean_of_defined(scores.iou);
  scores.mean_accuracy = mean_of_defined(scores.accuracy);
  const double labelled = sum_of(labelled_);
  scores.pixel_accuracy = labelled > 0.0 ? sum_of(intersection_) / labelled : std::nan("");
  return scores;
}

double percent_of(double share) {
  return std::nearbyint(share * 1e4) / 1e2;
}

}  // namespace spatialmamba::metrics
