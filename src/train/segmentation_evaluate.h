#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "data/segmentation_dataset.h"
#include "metrics/segmentation.h"
#include "segmentation/predict.h"
#include "train/evaluation_share.h"

namespace spatialmamba::train {

struct SegmentationEvaluateOptions {
  segmentation::PredictOptions predict = {};
  bool strict = false;             ///< stop at the first broken picture or mask
  std::string label = "evaluate";  ///< of the progress bar
  EvaluationShare share = {};
  /// Asked between pictures; true gives up.
  std::function<bool()> stop = [] { return false; };
  /// Told of each picture of this process, its labels and the prediction.
  std::function<void(std::int64_t, const data::LabelledPicture&, const image::Image&)> observe =
      [](std::int64_t, const data::LabelledPicture&, const image::Image&) {};
};

struct SegmentationEvaluation {
  metrics::SegmentationMeter meter;
  std::vector<std::string> skipped = {};  ///< one sentence for each broken picture or mask
};

/// Predicts every picture of a data set and compares, with a progress bar. Nothing when stopped, by any of
/// the processes that share the pictures; all of them get the same result. Throws Error when there is nothing
/// to compare, and where the network's classes are not as many as the data set's.
std::optional<SegmentationEvaluation> evaluate_segmentation(const segmentation::Network& network,
                                                            const data::SegmentationDataset& dataset,
                                                            const SegmentationEvaluateOptions& options);

}  // namespace spatialmamba::train
