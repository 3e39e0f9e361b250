#include "metrics/classification.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"

namespace spatialmamba::metrics {
namespace {

void require_numbers(std::span<const float> scores) {
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) fail("the score of class {} is not a number (NaN)", i);
  }
}

void require_label(std::span<const float> scores, std::int64_t label) {
  if (label < 0 || label >= std::ssize(scores)) {
    fail("label {}: the network tells {} classes apart (0 to {})", label, scores.size(),
         std::ssize(scores) - 1);
  }
}

// RFC 4180.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\n\r") == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

}  // namespace

void require_finite(std::span<const float> scores) {
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (!std::isfinite(scores[i])) fail("the network's answer for class {} is not finite ({})", i, scores[i]);
  }
}

std::vector<std::int64_t> top_k(std::span<const float> scores, std::int64_t k) {
  require_numbers(scores);
  std::vector<std::int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  const auto end = order.begin() + std::clamp<std::ptrdiff_t>(k, 0, std::ssize(order));
  std::partial_sort(order.begin(), end, order.end(), [&](std::int64_t a, std::int64_t b) {
    const float left = scores[static_cast<std::size_t>(a)];
    const float right = scores[static_cast<std::size_t>(b)];
    return left > right || (left == right && a < b);
  });
  order.erase(end, order.end());
  return order;
}

std::int64_t rank_of(std::span<const float> scores, std::int64_t label) {
  require_numbers(scores);
  require_label(scores, label);
  const auto own = static_cast<std::size_t>(label);
  std::int64_t rank = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (scores[i] > scores[own] || (scores[i] == scores[own] && i < own)) ++rank;
  }
  return rank;
}

std::vector<double> softmax(std::span<const float> scores) {
  require_numbers(scores);
  if (scores.empty()) return {};
  const double largest = *std::ranges::max_element(scores);
  std::vector<double> shares(scores.size());
  // An infinite score takes everything; several share it.
  const bool infinite = std::isinf(largest);
  std::ranges::transform(scores, shares.begin(), [&](float score) {
    return infinite ? static_cast<double>(score == largest) : std::exp(score - largest);
  });
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= sum;
  return shares;
}

double cross_entropy(std::span<const float> scores, std::int64_t label) {
  require_numbers(scores);
  require_label(scores, label);
  const double largest = *std::ranges::max_element(scores);
  double sum = 0.0;
  for (const float score : scores) sum += std::exp(score - largest);
  return std::log(sum) + largest - scores[static_cast<std::size_t>(label)];
}

ConfusionMatrix::ConfusionMatrix(std::int64_t classes) : classes_(classes) {
  if (classes < 1) fail("a confusion matrix needs at least one class, given {}", classes);
  counts_.resize(static_cast<std::size_t>(classes * classes));
}

void ConfusionMatrix::check(std::int64_t index, const char* what) const {
  if (index < 0 || index >= classes_)
    fail("{} {}: there are {} classes (0 to {})", what, index, classes_, classes_ - 1);
}

void ConfusionMatrix::add(std::int64_t label, std::int64_t predicted) {
  check(label, "label");
  check(predicted, "predicted class");
  ++counts_[static_cast<std::size_t>(label * classes_ + predicted)];
  ++total_;
}

std::int64_t ConfusionMatrix::count(std::int64_t label, std::int64_t predicted) const {
  check(label, "label");
  check(predicted, "predicted class");
  return counts_[static_cast<std::size_t>(label * classes_ + predicted)];
}

std::int64_t ConfusionMatrix::samples(std::int64_t label) const {
  check(label, "label");
  const auto row = counts_.begin() + label * classes_;
  return std::accumulate(row, row + classes_, std::int64_t{0});
}

void ConfusionMatrix::set_counts(std::span<const std::int64_t> counts) {
  if (counts.size() != counts_.size()) {
    fail("a confusion matrix of {} classes has {} counts, found {}", classes_, counts_.size(), counts.size());
  }
  counts_.assign(counts.begin(), counts.end());
  total_ = std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0});
}

std::optional<double> ConfusionMatrix::accuracy() const {
  if (total_ == 0) return std::nullopt;
  std::int64_t hits = 0;
  for (std::int64_t i = 0; i < classes_; ++i) hits += count(i, i);
  return static_cast<double>(hits) / static_cast<double>(total_);
}

std::vector<std::optional<double>> ConfusionMatrix::per_class_accuracy() const {
  std::vector<std::optional<double>> shares(static_cast<std::size_t>(classes_));
  for (std::int64_t i = 0; i < classes_; ++i) {
    const std::int64_t n = samples(i);
    if (n > 0)
      shares[static_cast<std::size_t>(i)] = static_cast<double>(count(i, i)) / static_cast<double>(n);
  }
  return shares;
}

std::string ConfusionMatrix::to_csv(const std::vector<std::string>& names) const {
  if (std::ssize(names) != classes_) fail("{} class names for {} classes", names.size(), classes_);
  std::string csv = "true\\predicted";
  for (const std::string& name : names) csv += ',' + csv_field(name);
  csv += '\n';
  for (std::int64_t row = 0; row < classes_; ++row) {
    csv += csv_field(names[static_cast<std::size_t>(row)]);
    for (std::int64_t column = 0; column < classes_; ++column) csv += fmt::format(",{}", count(row, column));
    csv += '\n';
  }
  return csv;
}

void ClassificationMeter::add(std::span<const float> scores, std::int64_t label) {
  if (std::ssize(scores) != confusion_.classes()) {
    fail("{} scores for {} classes", scores.size(), confusion_.classes());
  }
  const std::int64_t rank = rank_of(scores, label);
  confusion_.add(label, top_k(scores, 1).front());
  if (rank < 1) ++top1_;
  if (rank < 5) ++top5_;
}

std::vector<std::int64_t> ClassificationMeter::counts() const {
  std::vector<std::int64_t> counts = {top1_, top5_};
  const std::span<const std::int64_t> matrix = confusion_.counts();
  counts.insert(counts.end(), matrix.begin(), matrix.end());
  return counts;
}

void ClassificationMeter::set_counts(std::span<const std::int64_t> counts) {
  constexpr std::size_t kHits = 2;
  if (counts.size() < kHits) fail("a meter's counts are {} and more, found {}", kHits, counts.size());
  confusion_.set_counts(counts.subspan(kHits));
  top1_ = counts[0];
  top5_ = counts[1];
}

double ClassificationMeter::share(std::int64_t hits) const {
  return samples() == 0 ? 0.0 : static_cast<double>(hits) / static_cast<double>(samples());
}

}  // namespace spatialmamba::metrics
