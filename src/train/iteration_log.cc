#include "train/iteration_log.h"

#include <fmt/format.h>

#include "base/file.h"
#include "draw/chart.h"
#include "image/codec.h"

namespace spatialmamba::train {
namespace {

std::vector<Scalar> scalars_of(const char* group, const NamedValues& values) {
  std::vector<Scalar> scalars;
  for (const auto& [name, value] : values) {
    scalars.push_back({fmt::format("{}/{}", group, name), static_cast<float>(value)});
  }
  return scalars;
}

/// Columns are the first row's: every stretch has the same losses and scores.
std::string csv_of(const std::vector<IterationRecord>& history) {
  std::string text = "iteration,learning_rate,gradient_norm,seconds,images_per_second";
  for (const auto& [name, value] : history.front().losses) text += "," + name;
  for (const auto& [name, value] : history.front().scores) text += "," + name;
  text += "\n";
  for (const IterationRecord& record : history) {
    text += fmt::format("{},{},{},{},{}", record.iteration, record.learning_rate, record.gradient_norm,
                        record.seconds, record.images_per_second);
    for (const auto& [name, value] : record.losses) text += fmt::format(",{}", value);
    for (const auto& [name, value] : record.scores) text += fmt::format(",{}", value);
    text += "\n";
  }
  return text;
}

/// One line per name, over the iterations.
std::vector<draw::Series> series_of(const std::vector<IterationRecord>& history,
                                    NamedValues IterationRecord::*values) {
  std::vector<draw::Series> lines;
  for (const auto& [name, value] : history.front().*values) lines.push_back({.name = name, .x = {}, .y = {}});
  for (const IterationRecord& record : history) {
    for (std::size_t i = 0; i < lines.size() && i < (record.*values).size(); ++i) {
      lines[i].x.push_back(static_cast<double>(record.iteration));
      lines[i].y.push_back((record.*values)[i].second);
    }
  }
  return lines;
}

draw::Series series_of(const std::string& name, const std::vector<IterationRecord>& history,
                       double IterationRecord::*field) {
  draw::Series line{.name = name, .x = {}, .y = {}};
  for (const IterationRecord& record : history) {
    line.x.push_back(static_cast<double>(record.iteration));
    line.y.push_back(record.*field);
  }
  return line;
}

image::Image curves_of(const std::vector<IterationRecord>& history) {
  const std::string over = "iteration";
  return draw::draw_charts(
      {{.title = "Loss", .x_label = over, .series = series_of(history, &IterationRecord::losses)},
       {.title = "Validation",
        .x_label = over,
        .series = series_of(history, &IterationRecord::scores),
        .percent = true},
       {.title = "Learning rate",
        .x_label = over,
        .series = {series_of("learning rate", history, &IterationRecord::learning_rate)}},
       {.title = "Gradient norm",
        .x_label = over,
        .series = {series_of("mean over the iterations", history, &IterationRecord::gradient_norm)}}},
      "Training");
}

}  // namespace

nlohmann::ordered_json to_json(const NamedValues& values) {
  nlohmann::ordered_json object = nlohmann::ordered_json::object();
  for (const auto& [name, value] : values) object[name] = value;
  return object;
}

NamedValues named_values(const nlohmann::ordered_json& json) {
  NamedValues values;
  for (const auto& [name, value] : json.items()) values.emplace_back(name, value.get<double>());
  return values;
}

nlohmann::ordered_json to_json(const IterationRecord& record) {
  return {{"iteration", record.iteration},
          {"learning_rate", record.learning_rate},
          {"gradient_norm", record.gradient_norm},
          {"seconds", record.seconds},
          {"images_per_second", record.images_per_second},
          {"losses", to_json(record.losses)},
          {"scores", to_json(record.scores)}};
}

IterationRecord iteration_record(const nlohmann::ordered_json& json) {
  return {.iteration = json.at("iteration").get<std::int64_t>(),
          .learning_rate = json.at("learning_rate").get<double>(),
          .gradient_norm = json.at("gradient_norm").get<double>(),
          .seconds = json.at("seconds").get<double>(),
          .images_per_second = json.at("images_per_second").get<double>(),
          .losses = named_values(json.at("losses")),
          .scores = named_values(json.at("scores"))};
}

IterationLog::IterationLog(const RunFolder& folder, std::int64_t iterations,
                           const std::vector<IterationRecord>& history)
    : folder_(folder), lines_(folder.jsonl(), iterations), tensorboard_(folder.path(), iterations) {
  if (!history.empty()) rewrite(history);
}

void IterationLog::rewrite(const std::vector<IterationRecord>& history) const {
  write_text(folder_.csv(), csv_of(history));
  image::write_image(folder_.curves(), curves_of(history));
}

void IterationLog::add_iteration(std::int64_t number, const Update& update, const NamedValues& losses,
                                 const Throughput& throughput) {
  nlohmann::ordered_json line = {{"kind", "update"}, {"update", number}};
  line.update(to_json(losses));
  NamedValues conduct = {{"learning_rate", update.learning_rate},
                         {"gradient_norm", update.gradient_norm},
                         {"images_per_second", throughput.images_per_second},
                         {"data_wait", throughput.data_wait},
                         {"peak_memory_mib", throughput.peak_memory}};
  if (update.loss_scale) conduct.emplace_back("loss_scale", *update.loss_scale);
  line.update(to_json(conduct));
  lines_.write(line);
  std::vector<Scalar> scalars = scalars_of("train", losses);
  for (const Scalar& scalar : scalars_of("train", conduct)) scalars.push_back(scalar);
  tensorboard_.write(number, scalars);
}

void IterationLog::add_skipped(std::int64_t number, const std::string& problem) {
  lines_.write({{"kind", "skipped"}, {"update", number}, {"problem", problem}});
}

void IterationLog::add_evaluation(const std::vector<IterationRecord>& history) {
  const IterationRecord& record = history.back();
  nlohmann::ordered_json line = {{"kind", "evaluation"}, {"update", record.iteration}};
  line.update(to_json(record));
  lines_.write(line);
  tensorboard_.write(record.iteration, scalars_of("validation", record.scores));
  rewrite(history);
}

}  // namespace spatialmamba::train
