#include "train/segmentation_evaluate.h"

#include "base/error.h"
#include "base/progress.h"

namespace spatialmamba::train {
namespace {

/// A picture and its labels, or nothing where they are broken and that is allowed.
std::optional<data::LabelledPicture> load(const data::SegmentationDataset& dataset, std::int64_t i,
                                          bool strict, std::vector<std::string>& skipped) {
  if (strict) return dataset.load(i);
  try {
    return dataset.load(i);
  } catch (const Error& error) {
    skipped.emplace_back(error.what());
    return std::nullopt;
  }
}

}  // namespace

std::optional<SegmentationEvaluation> evaluate_segmentation(const segmentation::Network& network,
                                                            const data::SegmentationDataset& dataset,
                                                            const SegmentationEvaluateOptions& options) {
  const auto classes = static_cast<std::int64_t>(dataset.classes.size());
  SegmentationEvaluation result{metrics::SegmentationMeter(classes), {}};
  ProgressBar bar(options.label, dataset.size(), "img");
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    if (options.stop()) return std::nullopt;
    const auto sample = load(dataset, i, options.strict, result.skipped);
    bar.advance(1);
    if (!sample) continue;
    const segmentation::ScoreRows scores =
        segmentation::predict_scores(sample->picture, options.predict, network);
    if (scores.classes != classes) {
      fail("the network tells {} classes apart, the data set has {}", scores.classes, classes);
    }
    const image::Image labels = segmentation::best_classes(scores);
    result.meter.add(labels.pixels, sample->labels.pixels);
    options.observe(i, *sample, labels);
  }
  if (result.meter.images() == 0)
    fail("no picture could be evaluated; the first problem: {}", result.skipped.at(0));
  return result;
}

}  // namespace spatialmamba::train
