#include "train/journal.h"

#include "train/curves.h"

namespace spatialmamba::train {
namespace {

void add(std::vector<Scalar>& scalars, const char* tag, const std::optional<double>& value) {
  if (value) scalars.push_back({tag, static_cast<float>(*value)});
}

}  // namespace

Journal::Journal(const RunFolder& folder, std::int64_t updates, const std::vector<EpochRecord>& history)
    : folder_(folder), lines_(folder.jsonl(), updates), tensorboard_(folder.path(), updates) {
  if (!history.empty()) rewrite(history);
}

void Journal::rewrite(const std::vector<EpochRecord>& history) const {
  write_csv(folder_.csv(), history);
  draw_curves(folder_.curves(), history);
}

void Journal::add_skipped(std::int64_t number, const std::string& problem) {
  lines_.write({{"kind", "skipped"}, {"update", number}, {"problem", problem}});
}

void Journal::add_update(std::int64_t number, const Update& update, double loss,
                         const Throughput& throughput) {
  nlohmann::ordered_json line = {{"kind", "update"},
                                 {"update", number},
                                 {"loss", loss},
                                 {"learning_rate", update.learning_rate},
                                 {"gradient_norm", update.gradient_norm},
                                 {"images_per_second", throughput.images_per_second},
                                 {"data_wait", throughput.data_wait},
                                 {"peak_memory_mib", throughput.peak_memory}};
  if (throughput.device_memory) line["peak_device_memory_mib"] = *throughput.device_memory;
  if (update.loss_scale) line["loss_scale"] = *update.loss_scale;
  lines_.write(line);
  std::vector<Scalar> scalars;
  add(scalars, "train/loss", loss);
  add(scalars, "train/learning_rate", update.learning_rate);
  add(scalars, "train/gradient_norm", update.gradient_norm);
  add(scalars, "train/images_per_second", throughput.images_per_second);
  add(scalars, "train/data_wait", throughput.data_wait);
  add(scalars, "train/peak_memory_mib", throughput.peak_memory);
  add(scalars, "train/peak_device_memory_mib", throughput.device_memory);
  add(scalars, "train/loss_scale", update.loss_scale);
  tensorboard_.write(number, scalars);
}

void Journal::add_epoch(const std::vector<EpochRecord>& history) {
  const EpochRecord& record = history.back();
  nlohmann::ordered_json line = {{"kind", "epoch"}};
  line.update(to_json(record));
  lines_.write(line);

  std::vector<Scalar> scalars;
  add(scalars, "epoch/train_loss", record.train_loss);
  add(scalars, "validation/loss", record.validation_loss);
  add(scalars, "validation/top1", record.top1);
  add(scalars, "validation/top5", record.top5);
  add(scalars, "validation_ema/loss", record.ema_loss);
  add(scalars, "validation_ema/top1", record.ema_top1);
  add(scalars, "validation_ema/top5", record.ema_top5);
  tensorboard_.write(record.update, scalars);
  rewrite(history);
}

}  // namespace spatialmamba::train
