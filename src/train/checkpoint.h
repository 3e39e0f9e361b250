#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "spatialmamba/weights.h"
#include "train/learner.h"
#include "train/log.h"
#include "train/run_conduct.h"

namespace spatialmamba::train {

/// Where a run stands. Random numbers need no state of their own: order, augmentation, mixing and drop path
/// are drawn from streams that depend on (seed, epoch, batch) alone.
struct Progress {
  std::int64_t epoch = 0;          ///< finished epochs
  std::int64_t next_batch = 0;     ///< of the epoch under way
  std::int64_t epoch_updates = 0;  ///< made in the epoch under way
  std::int64_t updates = 0;        ///< made altogether
  double loss_sum = 0.0;           ///< of the epoch under way, over its updates
  double norm_sum = 0.0;           ///< gradient norms of its updates
  std::int64_t images = 0;         ///< seen in the epoch under way
  double epoch_seconds = 0.0;      ///< spent training in it
  double train_seconds = 0.0;      ///< spent training altogether
  double wait_seconds = 0.0;       ///< of epoch_seconds: spent waiting for images
  std::int64_t epoch_skipped = 0;  ///< of epoch_updates: not usable, so not made
  SkippedUpdates skipped = {};     ///< altogether
  double best_top1 = -1.0;
  double best_ema_top1 = -1.0;
  std::vector<EpochRecord> history = {};
};

struct SavedRun {
  Progress progress;
  RunIdentity identity;
};

/// What a weights file says about itself: task, variant, classes, size, mean, std, crop.
using Description = std::map<std::string, std::string>;

/// Writes model, EMA, optimizer moments, loss scale and position into one .safetensors file, atomically.
/// Tensors are called `model/NAME`, `model_ema/NAME`, `exp_avg/NAME`, `exp_avg_sq/NAME`; everything else is
/// metadata, among it the tensors' checksums.
void save_checkpoint(const std::filesystem::path& path, const Learner& learner, const SavedRun& run,
                     const Description& description);

/// Reads what save_checkpoint() wrote without loading tensors. Throws Error naming the file.
SavedRun read_saved_run(const std::filesystem::path& path);

/// Loads the tensors into a learner of the same architecture and type. Throws Error naming the file and the
/// tensor, before anything is changed, also where a checksum does not match.
void load_checkpoint(const std::filesystem::path& path, Learner& learner);

/// Writes a plain weights file, atomically.
void export_weights(const std::filesystem::path& path, const nn::SpatialMambaImpl& model,
                    const Description& description);

}  // namespace spatialmamba::train
