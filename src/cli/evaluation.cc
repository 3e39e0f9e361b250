#include "cli/evaluation.h"

#include "base/file.h"
#include "draw/confusion.h"
#include "draw/grid.h"
#include "image/codec.h"

namespace spatialmamba::cli {
namespace {

constexpr std::int64_t kExamples = 64;

/// The samples at which k * size / kExamples steps on; all of a small data set.
bool is_example(std::int64_t sample, std::int64_t size) {
  return sample == 0 || size <= kExamples || sample * kExamples / size != (sample - 1) * kExamples / size;
}

}  // namespace

void Examples::observe(std::int64_t sample, std::span<const float> logits) {
  if (!is_example(sample, data_size_)) return;
  const std::int64_t best = metrics::top_k(logits, 1).front();
  verdicts_.push_back({sample, best, metrics::softmax(logits)[static_cast<std::size_t>(best)]});
}

void Examples::write(const std::filesystem::path& path, const data::Dataset& dataset) const {
  if (verdicts_.empty()) return;
  std::vector<draw::Tile> tiles;
  for (const Verdict& verdict : verdicts_) {
    const std::int64_t label = dataset.labels[static_cast<std::size_t>(verdict.sample)];
    tiles.push_back({dataset.load(verdict.sample), dataset.classes[static_cast<std::size_t>(label)],
                     dataset.classes[static_cast<std::size_t>(verdict.predicted)], verdict.probability});
  }
  image::write_image(path, draw::draw_grid(tiles, "Predictions"));
}

void write_confusion(const std::filesystem::path& folder, const metrics::ConfusionMatrix& confusion,
                     const std::vector<std::string>& classes) {
  write_text(folder / "confusion.csv", confusion.to_csv(classes));
  image::write_image(folder / "confusion.png", draw::draw_confusion(confusion, classes, "Confusion matrix"));
}

}  // namespace spatialmamba::cli
