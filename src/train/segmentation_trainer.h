#pragma once

#include "data/segmentation_dataset.h"
#include "spatialmamba/segmentor.h"
#include "train/recipe.h"
#include "train/trainer.h"

namespace spatialmamba::train {

/// The segmentor that a recipe describes. Throws UsageError.
SegmentorArchitecture segmentor_of(const Recipe& recipe, std::int64_t classes);

/// Trains a recipe with model.task: segmentation, counting iterations, and leaves in options.out what train()
/// leaves. Throws Error as train() does.
RunResult train_segmentation(const Recipe& recipe, const data::SegmentationDataset& training,
                             const data::SegmentationDataset& validation, const RunOptions& options);

}  // namespace spatialmamba::train
