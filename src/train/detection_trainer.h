#pragma once

#include "data/detection_dataset.h"
#include "spatialmamba/detector.h"
#include "train/recipe.h"
#include "train/trainer.h"

namespace spatialmamba::train {

/// The detector that a recipe describes. Throws UsageError.
DetectorArchitecture detector_of(const Recipe& recipe, std::int64_t classes);

/// Trains a recipe with model.task: detection, counting iterations, and leaves in options.out what train()
/// leaves. Throws Error as train() does.
RunResult train_detection(const Recipe& recipe, const data::DetectionDataset& training,
                          const data::DetectionDataset& validation, const RunOptions& options);

}  // namespace spatialmamba::train
