#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace spatialmamba::train {

/// One finished epoch: a row of log.csv.
struct EpochRecord {
  std::int64_t epoch = 0;   ///< from 1
  std::int64_t update = 0;  ///< updates made by its end
  double learning_rate = 0.0;
  double train_loss = 0.0;
  double gradient_norm = 0.0;  ///< mean over the updates
  double seconds = 0.0;        ///< of training, without evaluation
  double images_per_second = 0.0;
  /// Nothing where the epoch was not evaluated, and for `ema_*` without EMA.
  std::optional<double> validation_loss = {};
  std::optional<double> top1 = {};
  std::optional<double> top5 = {};
  std::optional<double> ema_loss = {};
  std::optional<double> ema_top1 = {};
  std::optional<double> ema_top5 = {};
};

nlohmann::ordered_json to_json(const EpochRecord& record);
/// Throws Error when a field is missing or of another type (null: nothing).
EpochRecord epoch_record(const nlohmann::json& json);

/// Writes all epochs so far, with a header line; what there is none of is left empty. Atomic, so that it can
/// be rewritten after each epoch.
void write_csv(const std::filesystem::path& path, const std::vector<EpochRecord>& records);

/// log.jsonl: one JSON object a line with at least "update", appended to as training goes.
class JsonLines {
 public:
  /// Keeps the lines of an existing file whose update is at most `keep_until` (a resumed run repeats the
  /// others; a torn last line goes too) and appends from there.
  JsonLines(std::filesystem::path path, std::int64_t keep_until);

  /// Throws Error naming the file when it cannot be written.
  void write(const nlohmann::ordered_json& line);

 private:
  std::filesystem::path path_;
  std::ofstream file_;
};

}  // namespace spatialmamba::train
