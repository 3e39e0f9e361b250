#include "train/epoch_report.h"

#include <algorithm>

#include "base/progress.h"

namespace spatialmamba::train {

std::string percent(const std::optional<double>& share) {
  return share ? fmt::format("{:.2f} %", 100.0 * *share) : std::string("-");
}

std::string describe(const EpochRecord& record, const Throughput& pace, std::int64_t skipped_updates) {
  std::string line = fmt::format("loss {:.4f}", record.train_loss);
  if (record.top1) line += fmt::format("  top-1 {}  top-5 {}", percent(record.top1), percent(record.top5));
  if (record.ema_top1) line += fmt::format("  EMA top-1 {}", percent(record.ema_top1));
  line += fmt::format("  lr {:.2e}  {:.0f} img/s  data wait {:.0f} %  peak {:.0f} MiB", record.learning_rate,
                      record.images_per_second, 100.0 * pace.data_wait, pace.peak_memory);
  if (pace.device_memory) line += fmt::format(" ({:.0f} MiB on the GPU)", *pace.device_memory);
  line += fmt::format("  {}", format_duration(record.seconds));
  if (skipped_updates > 0) line += fmt::format("  {} updates skipped", skipped_updates);
  return line;
}

BestEpoch best_epoch(const std::vector<EpochRecord>& history) {
  BestEpoch best;
  for (const EpochRecord& record : history) {
    const double top1 = std::max(record.top1.value_or(-1.0), record.ema_top1.value_or(-1.0));
    if (top1 > best.top1) best = {record.epoch, top1};
  }
  return best;
}

}  // namespace spatialmamba::train
