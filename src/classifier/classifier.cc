#include "spatialmamba/classifier.h"

#include "metrics/classification.h"

namespace spatialmamba {

std::vector<double> softmax(std::span<const float> scores) {
  return metrics::softmax(scores);
}

std::vector<std::int64_t> top_k(std::span<const float> scores, std::int64_t k) {
  return metrics::top_k(scores, k);
}

Classifier::Classifier(const Model& model, const SessionOptions& options, const CardOverrides& overrides)
    : session_(model, options),
      card_(model_card(model.architecture(), model.metadata(), "the model", overrides)) {}

std::vector<Guess> Classifier::classify(const std::filesystem::path& file, std::int64_t k) {
  return guess(read_input(file, card_.transform), k);
}

std::vector<Guess> Classifier::classify(const PixelView& picture, std::int64_t k) {
  return guess(make_input(picture, card_.transform), k);
}

std::vector<Guess> Classifier::guess(std::span<const float> input, std::int64_t k) {
  const auto logits = session_.logits(
      {.data = input.data(), .count = 1, .height = card_.transform.height, .width = card_.transform.width});
  metrics::require_finite(logits);
  const std::vector<double> shares = softmax(logits);
  std::vector<Guess> guesses;
  for (const std::int64_t index : top_k(logits, k)) {
    const auto at = static_cast<std::size_t>(index);
    guesses.push_back({index, card_.classes[at], shares[at]});
  }
  return guesses;
}

}  // namespace spatialmamba
