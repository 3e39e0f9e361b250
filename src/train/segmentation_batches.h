#pragma once

#include <torch/torch.h>

#include <memory>

#include "data/loader.h"
#include "data/segmentation_dataset.h"
#include "train/recipe.h"
#include "train/replicas.h"

namespace spatialmamba::train {

/// What the recipe's training pictures go through. Throws UsageError.
data::SegmentationTransform segmentation_transform(const Recipe& recipe);

/// One replica's part of an endless sequence of training batches, one epoch after another, whose content
/// depends on the recipe and the number of the batch alone.
class SegmentationBatches {
 public:
  /// `strict`: stop at the first broken file instead of leaving it out.
  SegmentationBatches(const data::SegmentationDataset& dataset, const Recipe& recipe,
                      const ReplicaShare& share, bool strict);

  /// Its part of batch `number`; asked for in order, it is ready ahead of time. Where all of its files are
  /// broken, the next one that can be read stands in for it. Throws Error when there is none. Valid until the
  /// next call.
  const data::Batch& at(std::int64_t number);

 private:
  void open(std::int64_t epoch, std::int64_t batch);
  void advance();
  /// Of all replicas' batches: the one of which the loader has delivered a part last.
  std::int64_t reached() const;

  data::Dataset pictures_;
  data::SampleTransform transform_;
  data::LoaderOptions options_;
  ReplicaShare share_;
  std::int64_t per_epoch_ = 1;
  std::unique_ptr<data::Loader> loader_;
  std::int64_t epoch_ = 0;  ///< that the loader is at
  data::Batch batch_;
};

/// A batch as the network and its losses want it.
struct SegmentationTensors {
  torch::Tensor images;  ///< (N, 3, H, W); shares the batch's memory where the type is float32
  torch::Tensor labels;  ///< (N, H, W) int64
};

SegmentationTensors tensors_of(const data::Batch& batch, torch::ScalarType type);

}  // namespace spatialmamba::train
