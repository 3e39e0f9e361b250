#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "data/detection_dataset.h"
#include "detection/predict.h"
#include "metrics/coco.h"
#include "train/evaluation_share.h"

namespace spatialmamba::train {

struct DetectionEvaluateOptions {
  detection::PredictOptions predict = {};
  /// Detections that count, per image and category; mmdetection's.
  std::array<std::int64_t, 3> limits = {100, 300, 1000};
  bool strict = false;             ///< stop at the first broken picture
  std::string label = "evaluate";  ///< of the progress bar
  EvaluationShare share = {};
  /// Asked between pictures; true gives up.
  std::function<bool()> stop = [] { return false; };
  /// Told of each picture of this process and what was found in it.
  std::function<void(std::int64_t, const image::Image&, const detection::Prediction&)> observe =
      [](std::int64_t, const image::Image&, const detection::Prediction&) {};
};

struct DetectionEvaluation {
  metrics::CocoResult box;
  metrics::CocoResult mask;
  nlohmann::json results = nlohmann::json::array();  ///< COCO's result format
  std::int64_t images = 0;
  std::int64_t left_out = 0;              ///< detections beyond the limit per picture
  std::vector<std::string> skipped = {};  ///< one sentence for each broken picture
};

/// Finds the objects of every picture of a data set and compares, with a progress bar. Nothing when stopped,
/// by any of the processes that share the pictures. All of them get the same results; the first one compares,
/// and tells the others no more than `stats`.
std::optional<DetectionEvaluation> evaluate_detection(const detection::Network& network,
                                                      const data::DetectionDataset& dataset,
                                                      const DetectionEvaluateOptions& options);

/// The detections of a result file, with their outlines.
std::vector<metrics::CocoDetection> detections_of(const data::CocoFile& results, const data::CocoFile& truth);

/// COCO's figures of detections for a data set's objects.
metrics::CocoResult compare_with_truth(const data::CocoFile& truth, const std::vector<std::int64_t>& images,
                                       const std::vector<std::int64_t>& categories,
                                       const std::vector<metrics::CocoDetection>& detections,
                                       const metrics::CocoSettings& settings,
                                       const ParallelFor& parallel = {});

}  // namespace spatialmamba::train
