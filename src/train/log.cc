#include "train/log.h"

#include <fmt/ranges.h>

#include <array>
#include <variant>

#include "base/error.h"
#include "base/file.h"

namespace spatialmamba::train {
namespace {

using Integer = std::int64_t EpochRecord::*;
using Real = double EpochRecord::*;
using OptionalReal = std::optional<double> EpochRecord::*;

struct Column {
  const char* name;
  std::variant<Integer, Real, OptionalReal> field;
};

/// The one list of what an epoch's record holds: for the CSV, the JSON and the checkpoint.
constexpr std::array<Column, 13> kColumns = {{
    {"epoch", &EpochRecord::epoch},
    {"update", &EpochRecord::update},
    {"learning_rate", &EpochRecord::learning_rate},
    {"train_loss", &EpochRecord::train_loss},
    {"gradient_norm", &EpochRecord::gradient_norm},
    {"seconds", &EpochRecord::seconds},
    {"images_per_second", &EpochRecord::images_per_second},
    {"validation_loss", &EpochRecord::validation_loss},
    {"top1", &EpochRecord::top1},
    {"top5", &EpochRecord::top5},
    {"ema_loss", &EpochRecord::ema_loss},
    {"ema_top1", &EpochRecord::ema_top1},
    {"ema_top5", &EpochRecord::ema_top5},
}};

template <typename T>
nlohmann::ordered_json to_value(const T& value) {
  return value;
}
nlohmann::ordered_json to_value(const std::optional<double>& value) {
  return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
}

template <typename T>
void from_value(const nlohmann::json& json, T& value) {
  if (!json.is_number()) fail("expected a number, found {}", json.dump());
  json.get_to(value);
}
void from_value(const nlohmann::json& json, std::optional<double>& value) {
  value.reset();
  if (!json.is_null()) from_value(json, value.emplace());
}

template <typename T>
std::string to_cell(const T& value) {
  return fmt::format("{}", value);
}
std::string to_cell(const std::optional<double>& value) {
  return value ? to_cell(*value) : std::string();
}

std::string kept_lines(const std::filesystem::path& path, std::int64_t keep_until) {
  if (!std::filesystem::exists(path)) return {};
  const std::string text = read_text(path);
  std::string kept;
  for (std::size_t begin = 0, end = 0; begin < text.size(); begin = end + 1) {
    end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const auto json = nlohmann::json::parse(line, nullptr, false);
    if (json.is_object() && json.value("update", keep_until + 1) <= keep_until) kept += line + "\n";
  }
  return kept;
}

}  // namespace

nlohmann::ordered_json to_json(const EpochRecord& record) {
  nlohmann::ordered_json json;
  for (const Column& column : kColumns) {
    std::visit([&](auto field) { json[column.name] = to_value(record.*field); }, column.field);
  }
  return json;
}

EpochRecord epoch_record(const nlohmann::json& json) {
  EpochRecord record;
  for (const Column& column : kColumns) {
    if (!json.is_object() || !json.contains(column.name)) {
      fail("the record of an epoch has no '{}'", column.name);
    }
    std::visit([&](auto field) { from_value(json[column.name], record.*field); }, column.field);
  }
  return record;
}

void write_csv(const std::filesystem::path& path, const std::vector<EpochRecord>& records) {
  std::vector<std::string> cells;
  for (const Column& column : kColumns) cells.emplace_back(column.name);
  std::string text = fmt::format("{}\n", fmt::join(cells, ","));
  for (const EpochRecord& record : records) {
    cells.clear();
    for (const Column& column : kColumns) {
      std::visit([&](auto field) { cells.push_back(to_cell(record.*field)); }, column.field);
    }
    text += fmt::format("{}\n", fmt::join(cells, ","));
  }
  write_text(path, text);
}

JsonLines::JsonLines(std::filesystem::path path, std::int64_t keep_until) : path_(std::move(path)) {
  write_text(path_, kept_lines(path_, keep_until));
  file_.open(path_, std::ios::app);
}

void JsonLines::write(const nlohmann::ordered_json& line) {
  file_ << line.dump() << '\n' << std::flush;
  if (!file_) fail("{}: cannot write", path_.string());
}

}  // namespace spatialmamba::train
