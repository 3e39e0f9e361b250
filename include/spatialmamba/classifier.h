#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "spatialmamba/engine.h"
#include "spatialmamba/image.h"

namespace spatialmamba {

/// How to feed a classifier and what its answers are called.
struct ModelCard {
  std::vector<std::string> classes;
  bool named = false;  ///< false: nobody knows the names, `classes` holds "class 0", ...
  InputTransform transform;
};

/// What the caller knows better than the file.
struct CardOverrides {
  std::vector<std::string> classes = {};  ///< empty: as the file says
  std::int64_t height = 0;                ///< 0: as the file says
  std::int64_t width = 0;
};

/// From the metadata of a weights file of ours (classes, size, mean, std, crop, interpolation); what they
/// leave open is ImageNet's: 224 pixels, its normalisation and, for 1000 classes, its names. Throws Error
/// naming `source` for metadata that make no sense and for another number of names than of classes.
ModelCard model_card(const Architecture& architecture, const std::map<std::string, std::string>& metadata,
                     const std::string& source, const CardOverrides& overrides = {});

/// exp(s) / sum exp(s), computed without overflow. Throws Error for a score that is not a number.
std::vector<double> softmax(std::span<const float> scores);

/// The k classes with the largest scores, best first; of equal scores the lower index comes first. Fewer when
/// there are fewer classes. Throws Error for a score that is not a number.
std::vector<std::int64_t> top_k(std::span<const float> scores, std::int64_t k);

struct Guess {
  std::int64_t index = 0;
  std::string name;
  double probability = 0.0;
};

/// From a picture to names: a session and the card of its model. Calls of one classifier must not overlap.
class Classifier {
 public:
  explicit Classifier(const Model& model, const SessionOptions& options = {},
                      const CardOverrides& overrides = {});

  const ModelCard& card() const { return card_; }
  Session& session() { return session_; }

  /// The k best guesses, best first. Throws what read_input(), make_input() and Session::logits() throw.
  std::vector<Guess> classify(const std::filesystem::path& file, std::int64_t k = 5);
  std::vector<Guess> classify(const PixelView& picture, std::int64_t k = 5);

 private:
  std::vector<Guess> guess(std::span<const float> input, std::int64_t k);

  Session session_;
  ModelCard card_;
};

}  // namespace spatialmamba
