#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "spatialmamba/weights.h"
#include "train/iteration_log.h"
#include "train/run_conduct.h"

namespace spatialmamba::train {

/// Where a run that counts iterations stands. A stretch is what lies between two evaluations.
struct IterationPosition {
  std::int64_t iteration = 0;  ///< finished
  std::int64_t updates = 0;    ///< made: without the skipped ones
  std::int64_t stretch = 0;    ///< iterations finished since the last evaluation
  std::int64_t stretch_updates = 0;
  NamedValues loss_sums;  ///< over the updates of the stretch
  double norm_sum = 0.0;  ///< gradient norms of these
  std::int64_t images = 0;
  double stretch_seconds = 0.0;
  double wait_seconds = 0.0;   ///< of stretch_seconds
  double train_seconds = 0.0;  ///< altogether
  SkippedUpdates skipped;
  double best = -1.0;
  double best_average = -1.0;
  std::vector<IterationRecord> history;

  void begin_stretch();
};

/// As an entry of a checkpoint's metadata.
void note_position(std::map<std::string, std::string>& metadata, const IterationPosition& position);
/// Throws Error naming the file when there is none.
IterationPosition saved_position(const Weights& file, const std::filesystem::path& path);

}  // namespace spatialmamba::train
