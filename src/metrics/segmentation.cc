#include "metrics/segmentation.h"

#include <cmath>
#include <numeric>

#include "base/error.h"

namespace spatialmamba::metrics {
namespace {

constexpr std::int64_t kMostClasses = 255;
constexpr std::size_t kCounts = 3;  ///< of each class: see count()

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

std::vector<std::int64_t> SegmentationMeter::count(std::span<const std::uint8_t> predicted,
                                                   std::span<const std::uint8_t> labels) const {
  if (predicted.size() != labels.size()) {
    fail("{} predictions were given for {} labels", predicted.size(), labels.size());
  }
  const std::size_t n = intersection_.size();
  std::vector<std::int64_t> counts(kCounts * n);
  const std::span<std::int64_t> right = std::span(counts).first(n);
  const std::span<std::int64_t> guessed = std::span(counts).subspan(n, n);
  const std::span<std::int64_t> true_pixels = std::span(counts).last(n);
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
  return counts;
}

void SegmentationMeter::add(std::span<const std::int64_t> counts) {
  const std::size_t n = intersection_.size();
  if (counts.size() != kCounts * n) fail("{} counts were given for {} classes", counts.size(), n);
  for (std::size_t i = 0; i < n; ++i) {
    const std::int64_t right = counts[i];
    const std::int64_t guessed = counts[n + i];
    const std::int64_t true_pixels = counts[2 * n + i];
    intersection_[i] += static_cast<float>(right);
    union_[i] += static_cast<float>(guessed + true_pixels - right);
    predicted_[i] += static_cast<float>(guessed);
    labelled_[i] += static_cast<float>(true_pixels);
  }
  ++images_;
}

void SegmentationMeter::add(std::span<const std::uint8_t> predicted, std::span<const std::uint8_t> labels) {
  add(count(predicted, labels));
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
