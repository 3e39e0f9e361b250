#include "train/checkpoint.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "nn/state_dict.h"
#include "train/run_state.h"

namespace spatialmamba::train {
namespace {

// Metadata beside the description of the weights and the identity of the run.
constexpr const char* kProgress = "progress";

nlohmann::ordered_json progress_json(const Progress& progress) {
  nlohmann::ordered_json history = nlohmann::ordered_json::array();
  for (const EpochRecord& record : progress.history) history.push_back(to_json(record));
  return {{"epoch", progress.epoch},
          {"next_batch", progress.next_batch},
          {"epoch_updates", progress.epoch_updates},
          {"updates", progress.updates},
          {"loss_sum", progress.loss_sum},
          {"norm_sum", progress.norm_sum},
          {"images", progress.images},
          {"epoch_seconds", progress.epoch_seconds},
          {"train_seconds", progress.train_seconds},
          {"wait_seconds", progress.wait_seconds},
          {"epoch_skipped", progress.epoch_skipped},
          {"skipped", progress.skipped.total},
          {"skipped_in_a_row", progress.skipped.in_a_row},
          {"overflowed", progress.skipped.overflowed},
          {"best_top1", progress.best_top1},
          {"best_ema_top1", progress.best_ema_top1},
          {"history", history}};
}

Progress parse_progress(const nlohmann::json& json) {
  Progress progress;
  json.at("epoch").get_to(progress.epoch);
  json.at("next_batch").get_to(progress.next_batch);
  json.at("epoch_updates").get_to(progress.epoch_updates);
  json.at("updates").get_to(progress.updates);
  json.at("loss_sum").get_to(progress.loss_sum);
  json.at("norm_sum").get_to(progress.norm_sum);
  json.at("images").get_to(progress.images);
  json.at("epoch_seconds").get_to(progress.epoch_seconds);
  json.at("train_seconds").get_to(progress.train_seconds);
  // Checkpoints of earlier versions have none of these.
  progress.wait_seconds = json.value("wait_seconds", 0.0);
  progress.epoch_skipped = json.value("epoch_skipped", std::int64_t{0});
  progress.skipped.total = json.value("skipped", std::int64_t{0});
  progress.skipped.in_a_row = json.value("skipped_in_a_row", std::int64_t{0});
  progress.skipped.overflowed = json.value("overflowed", std::int64_t{0});
  json.at("best_top1").get_to(progress.best_top1);
  json.at("best_ema_top1").get_to(progress.best_ema_top1);
  for (const nlohmann::json& record : json.at("history")) progress.history.push_back(epoch_record(record));
  return progress;
}

}  // namespace

void save_checkpoint(const std::filesystem::path& path, const Learner& learner, const SavedRun& run,
                     const Description& description) {
  Description metadata = description;
  metadata[kProgress] = progress_json(run.progress).dump();
  note_identity(metadata, run.identity);
  save_run_state(path, learner.updater(), metadata);
}

SavedRun read_saved_run(const std::filesystem::path& path) {
  const Weights file = read_safetensors(path);
  SavedRun run{.progress = {}, .identity = saved_identity(file, path)};
  try {
    run.progress = parse_progress(nlohmann::json::parse(run_metadata(file, path, kProgress)));
  } catch (const nlohmann::json::exception& error) {
    fail_unreadable_record(path, error);
  }
  return run;
}

void load_checkpoint(const std::filesystem::path& path, Learner& learner) {
  const std::int64_t updates = read_saved_run(path).progress.updates;
  load_run_state(path, learner.updater());
  learner.optimizer().set_updates(updates);
}

void export_weights(const std::filesystem::path& path, const nn::SpatialMambaImpl& model,
                    const Description& description) {
  Description metadata = {{"task", "classification"}, {"variant", model.architecture().variant}};
  for (const auto& [key, value] : description) metadata[key] = value;
  export_state(path, nn::named_state(model), metadata);
}

}  // namespace spatialmamba::train
