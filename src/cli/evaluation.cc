#include "cli/evaluation.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "data/loader.h"
#include "draw/confusion.h"
#include "draw/grid.h"
#include "image/codec.h"

namespace spatialmamba::cli {
namespace {

/// `count` samples, evenly spread; every one where there are fewer.
bool is_example(std::int64_t sample, std::int64_t size, std::int64_t count) {
  if (size <= count) return true;
  return sample * count / size != (sample - 1) * count / size || sample == 0;
}

void add_sample(Evaluation& evaluation, std::span<const float> logits, std::int64_t label,
                std::int64_t sample, bool example) {
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (!std::isfinite(logits[i])) fail("the network's answer for class {} is not finite ({})", i, logits[i]);
  }
  evaluation.meter.add(logits, label);
  const std::vector<double> shares = metrics::softmax(logits);
  // Not log(share), which is minus infinity where the share underflows.
  const double largest = *std::ranges::max_element(logits);
  double sum = 0.0;
  for (const float logit : logits) sum += std::exp(logit - largest);
  evaluation.loss_sum += std::log(sum) + largest - logits[static_cast<std::size_t>(label)];
  if (!example) return;
  const std::int64_t best = metrics::top_k(logits, 1).front();
  evaluation.examples.push_back({sample, best, shares[static_cast<std::size_t>(best)]});
}

void add_batch(Evaluation& evaluation, const Network& network, const data::Batch& batch,
               const data::Dataset& dataset, std::int64_t examples) {
  const std::vector<float> logits = network.logits(
      std::span(batch.images).first(static_cast<std::size_t>(batch.n * batch.h * batch.w * batch.c)), batch.n,
      {batch.h, batch.w});
  const auto classes = static_cast<std::size_t>(network.architecture().num_classes);
  for (std::size_t i = 0; i < static_cast<std::size_t>(batch.n); ++i) {
    const std::int64_t sample = batch.indices[i];
    try {
      add_sample(evaluation, std::span(logits).subspan(i * classes, classes), batch.labels[i], sample,
                 is_example(sample, dataset.size(), examples));
    } catch (const Error& error) {
      fail("{}: {}", dataset.name(sample), error.what());
    }
  }
}

}  // namespace

Evaluation evaluate(const Network& network, const ModelCard& card, const data::Dataset& dataset,
                    const EvaluationOptions& options) {
  Evaluation evaluation(network.architecture().num_classes);
  const auto start = std::chrono::steady_clock::now();
  data::Loader loader(dataset, data::sample_transform(card.transform),
                      {.batch_size = options.batch, .threads = options.threads, .strict = options.strict});
  ProgressBar progress("eval", dataset.size(), "img");
  for (data::Batch batch; loader.next(batch);) {
    for (const std::string& sentence : batch.skipped) spdlog::warn("left out: {}", sentence);
    evaluation.skipped += std::ssize(batch.skipped);
    add_batch(evaluation, network, batch, dataset, options.examples);
    progress.advance(batch.n + std::ssize(batch.skipped),
                     fmt::format("top-1 {:.2f} %", 100.0 * evaluation.meter.top1()));
  }
  progress.clear();
  evaluation.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  return evaluation;
}

void write_pictures(const std::filesystem::path& folder, const Evaluation& evaluation,
                    const data::Dataset& dataset, const std::vector<std::string>& classes) {
  const metrics::ConfusionMatrix& confusion = evaluation.meter.confusion();
  write_text(folder / "confusion.csv", confusion.to_csv(classes));
  image::write_image(folder / "confusion.png", draw::draw_confusion(confusion, classes, "Confusion matrix"));
  std::vector<draw::Tile> tiles;
  for (const Verdict& verdict : evaluation.examples) {
    const std::int64_t label = dataset.labels[static_cast<std::size_t>(verdict.sample)];
    tiles.push_back({dataset.load(verdict.sample), classes[static_cast<std::size_t>(label)],
                     classes[static_cast<std::size_t>(verdict.predicted)], verdict.probability});
  }
  if (!tiles.empty()) image::write_image(folder / "grid.png", draw::draw_grid(tiles, "Predictions"));
}

}  // namespace spatialmamba::cli
