#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/log.h"
#include "train/run_conduct.h"

namespace spatialmamba::train {

/// "12.34 %", or "-" for nothing.
std::string percent(const std::optional<double>& share);

/// What the user is told of a finished epoch, behind its name: one line.
std::string describe(const EpochRecord& record, const Throughput& pace, std::int64_t skipped_updates);

/// The first epoch with the best top-1, plain or averaged.
struct BestEpoch {
  std::int64_t epoch = 0;  ///< 0: none has been evaluated
  double top1 = -1.0;
};
BestEpoch best_epoch(const std::vector<EpochRecord>& history);

}  // namespace spatialmamba::train
