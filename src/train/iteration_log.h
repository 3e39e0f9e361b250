#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "train/log.h"
#include "train/run_conduct.h"
#include "train/run_folder.h"
#include "train/tensorboard.h"
#include "train/updater.h"

namespace spatialmamba::train {

/// Named numbers in the order in which they are shown: losses, scores.
using NamedValues = std::vector<std::pair<std::string, double>>;

nlohmann::ordered_json to_json(const NamedValues& values);
/// Throws nlohmann::json::exception for anything else than to_json() wrote.
NamedValues named_values(const nlohmann::ordered_json& json);

/// The stretch of a run up to an evaluation: a row of log.csv.
struct IterationRecord {
  std::int64_t iteration = 0;  ///< finished by then
  double learning_rate = 0.0;
  double gradient_norm = 0.0;  ///< mean over the stretch
  double seconds = 0.0;        ///< of training, without evaluation
  double images_per_second = 0.0;
  NamedValues losses;  ///< means over the stretch
  NamedValues scores;  ///< "mIoU", ..., and "ema_mIoU", ...
};

nlohmann::ordered_json to_json(const IterationRecord& record);
/// Throws nlohmann::json::exception for anything else than to_json() wrote.
IterationRecord iteration_record(const nlohmann::ordered_json& json);

/// Everything that a run which counts iterations writes down for people to read.
class IterationLog {
 public:
  /// Continues what `folder` holds after `iterations` iterations and the stretches in `history`.
  IterationLog(const RunFolder& folder, std::int64_t iterations, const std::vector<IterationRecord>& history);

  /// One iteration out of every few; `number` counts from 1.
  void add_iteration(std::int64_t number, const Update& update, const NamedValues& losses,
                     const Throughput& throughput);

  /// An iteration without an update.
  void add_skipped(std::int64_t number, const std::string& problem);

  /// The last record of `history` is new.
  void add_evaluation(const std::vector<IterationRecord>& history);

 private:
  void rewrite(const std::vector<IterationRecord>& history) const;

  RunFolder folder_;
  JsonLines lines_;
  TensorBoardLog tensorboard_;
};

}  // namespace spatialmamba::train
