#include "train/segmentation_evaluate.h"

#include "base/error.h"

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

/// What was counted in the pictures of one process, picture by picture.
struct Counted {
  bool stopped = false;
  std::vector<std::vector<std::int64_t>> pictures = {};
  std::vector<std::string> skipped = {};
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Counted, stopped, pictures, skipped)

Counted count_own(const segmentation::Network& network, const data::SegmentationDataset& dataset,
                  const SegmentationEvaluateOptions& options, const metrics::SegmentationMeter& meter) {
  Counted own;
  const auto look = [&](std::int64_t i) {
    const auto sample = load(dataset, i, options.strict, own.skipped);
    if (!sample) return;
    const segmentation::ScoreRows scores =
        segmentation::predict_scores(sample->picture, options.predict, network);
    if (scores.classes != meter.classes()) {
      fail("the network tells {} classes apart, the data set has {}", scores.classes, meter.classes());
    }
    const image::Image labels = segmentation::best_classes(scores);
    own.pictures.push_back(meter.count(labels.pixels, sample->labels.pixels));
    options.observe(i, *sample, labels);
  };
  own.stopped = !look_at_own(options.share, dataset.size(), options.label, options.stop, look);
  return own;
}

}  // namespace

std::optional<SegmentationEvaluation> evaluate_segmentation(const segmentation::Network& network,
                                                            const data::SegmentationDataset& dataset,
                                                            const SegmentationEvaluateOptions& options) {
  SegmentationEvaluation result{metrics::SegmentationMeter(std::ssize(dataset.classes)), {}};
  for (const Counted& part : gather(count_own(network, dataset, options, result.meter), options.share)) {
    if (part.stopped) return std::nullopt;
    for (const std::vector<std::int64_t>& counts : part.pictures) result.meter.add(counts);
    result.skipped.insert(result.skipped.end(), part.skipped.begin(), part.skipped.end());
  }
  if (result.meter.images() == 0)
    fail("no picture could be evaluated; the first problem: {}", result.skipped.at(0));
  return result;
}

}  // namespace spatialmamba::train
