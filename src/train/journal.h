#pragma once

#include "train/learner.h"
#include "train/log.h"
#include "train/run_conduct.h"
#include "train/run_folder.h"
#include "train/tensorboard.h"

namespace spatialmamba::train {

/// Everything that a run writes down for people to read: log.csv, log.jsonl, TensorBoard's events and the
/// picture of the curves.
class Journal {
 public:
  /// Continues what `folder` holds after `updates` updates and the epochs in `history`.
  Journal(const RunFolder& folder, std::int64_t updates, const std::vector<EpochRecord>& history);

  /// One update out of every few; `number` counts from 1, `loss` is its mean over the micro-batches.
  void add_update(std::int64_t number, const Update& update, double loss, const Throughput& throughput);

  /// An attempt at update `number` that was skipped.
  void add_skipped(std::int64_t number, const std::string& problem);

  /// The last record of `history` is new.
  void add_epoch(const std::vector<EpochRecord>& history);

 private:
  void rewrite(const std::vector<EpochRecord>& history) const;

  RunFolder folder_;
  JsonLines lines_;
  TensorBoardLog tensorboard_;
};

}  // namespace spatialmamba::train
