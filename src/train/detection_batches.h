#pragma once

#include <torch/torch.h>

#include <future>
#include <string>
#include <vector>

#include "data/detection_dataset.h"
#include "image/transform.h"
#include "nn/detection_losses.h"
#include "train/replicas.h"

namespace spatialmamba::train {

/// What one pass is trained on.
struct DetectionBatch {
  torch::Tensor images;  ///< (N, 3, H, W) float32, channels last in memory, padded to the largest and to 32
  std::vector<nn::DetectionTarget> targets;
  std::vector<std::string> skipped;  ///< one sentence for each broken picture
};

/// Pictures of one batch, normalised and padded; masks are padded with them.
DetectionBatch collate(const std::vector<data::DetectionPicture>& pictures, const image::InputFormat& format);

struct DetectionBatchOptions {
  data::DetectionTransform transform;
  image::InputFormat format;
  ReplicaShare share;
  std::uint64_t seed = 0;
  bool strict = false;
};

/// One replica's part of batches by number, whatever epoch they belong to: pictures of equal orientation, in
/// an order and with augmentations that depend on (seed, epoch, picture) alone. The next one is loaded while
/// this one is used.
class DetectionBatches {
 public:
  DetectionBatches(const data::DetectionDataset& dataset, const DetectionBatchOptions& options);

  DetectionBatch at(std::int64_t number);

 private:
  DetectionBatch load(std::int64_t number) const;

  const data::DetectionDataset& dataset_;
  DetectionBatchOptions options_;
  std::int64_t per_epoch_ = 1;
  std::int64_t ahead_number_ = -1;
  std::future<DetectionBatch> ahead_;
};

}  // namespace spatialmamba::train
