#include "train/iteration_position.h"

#include <nlohmann/json.hpp>

#include "train/run_state.h"

namespace spatialmamba::train {
namespace {

using nlohmann::ordered_json;

constexpr const char* kPosition = "iteration_progress";

ordered_json position_json(const IterationPosition& position) {
  auto history = ordered_json::array();
  for (const IterationRecord& record : position.history) history.push_back(to_json(record));
  return {{"iteration", position.iteration},
          {"updates", position.updates},
          {"stretch", position.stretch},
          {"stretch_updates", position.stretch_updates},
          {"loss_sums", to_json(position.loss_sums)},
          {"norm_sum", position.norm_sum},
          {"images", position.images},
          {"stretch_seconds", position.stretch_seconds},
          {"wait_seconds", position.wait_seconds},
          {"train_seconds", position.train_seconds},
          {"skipped", position.skipped.total},
          {"skipped_in_a_row", position.skipped.in_a_row},
          {"overflowed", position.skipped.overflowed},
          {"best", position.best},
          {"best_average", position.best_average},
          {"history", history}};
}

IterationPosition parse_position(const ordered_json& json) {
  IterationPosition position;
  json.at("iteration").get_to(position.iteration);
  json.at("updates").get_to(position.updates);
  json.at("stretch").get_to(position.stretch);
  json.at("stretch_updates").get_to(position.stretch_updates);
  position.loss_sums = named_values(json.at("loss_sums"));
  json.at("norm_sum").get_to(position.norm_sum);
  json.at("images").get_to(position.images);
  json.at("stretch_seconds").get_to(position.stretch_seconds);
  json.at("wait_seconds").get_to(position.wait_seconds);
  json.at("train_seconds").get_to(position.train_seconds);
  json.at("skipped").get_to(position.skipped.total);
  json.at("skipped_in_a_row").get_to(position.skipped.in_a_row);
  // Checkpoints of earlier versions do not have it.
  position.skipped.overflowed = json.value("overflowed", std::int64_t{0});
  json.at("best").get_to(position.best);
  json.at("best_average").get_to(position.best_average);
  for (const ordered_json& record : json.at("history")) position.history.push_back(iteration_record(record));
  return position;
}

}  // namespace

void IterationPosition::begin_stretch() {
  stretch = 0;
  stretch_updates = 0;
  loss_sums.clear();
  norm_sum = 0.0;
  images = 0;
  stretch_seconds = 0.0;
  wait_seconds = 0.0;
}

void note_position(std::map<std::string, std::string>& metadata, const IterationPosition& position) {
  metadata[kPosition] = position_json(position).dump();
}

IterationPosition saved_position(const Weights& file, const std::filesystem::path& path) {
  const std::string& text = run_metadata(file, path, kPosition);
  try {
    return parse_position(ordered_json::parse(text));
  } catch (const nlohmann::json::exception& error) {
    fail_unreadable_record(path, error);
  }
}

}  // namespace spatialmamba::train
