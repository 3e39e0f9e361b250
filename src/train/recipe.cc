#include "train/recipe.h"

#include <fmt/ranges.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <set>
#include <string_view>

#include "archive/source.h"
#include "base/error.h"
#include "base/file.h"
#include "base/nearest.h"
#include "train/recipe_keys.h"

namespace spatialmamba::train {
namespace {

constexpr int kDeepestBase = 8;
constexpr const char* kVariantsOwn = "variant";  // an unset optional: what the architecture's table says
constexpr const char* kNoWeights = "none";
constexpr const char* kBalancedWeights = "balanced";

/// Where a value comes from, for messages: the file (or the command line) and the key.
struct Place {
  const std::string& source;
  const RecipeKey& key;
};

template <typename... Args>
[[noreturn]] void reject(const Place& place, const YAML::Node& node, fmt::format_string<Args...> expected,
                         Args&&... args) {
  YAML::Emitter found;
  found << YAML::Flow << node;
  fail_usage("{}: {} is {}, expected {}", place.source, place.key.name, found.c_str(),
             fmt::format(expected, std::forward<Args>(args)...));
}

std::string range_text(const RecipeKey& key) {
  return std::isfinite(key.low) ? fmt::format(" from {} to {}", key.low, key.high) : std::string();
}

template <typename T>
std::optional<T> number(const YAML::Node& node) {
  if (!node.IsScalar()) return std::nullopt;
  const std::string& text = node.Scalar();
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

template <typename T>
T checked_number(const Place& place, const YAML::Node& whole, const YAML::Node& node) {
  const char* kind = std::is_same_v<T, double> ? "number" : "whole number";
  const std::optional<T> value = number<T>(node);
  const auto in_range = [&](T x) {
    return static_cast<double>(x) >= place.key.low && static_cast<double>(x) <= place.key.high;
  };
  if (!value || !in_range(*value)) {
    const bool list = whole.IsSequence();
    reject(place, whole, "{}{}{}", list ? "a list, each a " : "a ", kind, range_text(place.key));
  }
  return *value;
}

void read(const Place& place, const YAML::Node& node, bool& value) {
  if (!node.IsScalar() || (node.Scalar() != "true" && node.Scalar() != "false")) {
    reject(place, node, "true or false");
  }
  value = node.Scalar() == "true";
}

void read(const Place& place, const YAML::Node& node, std::int64_t& value) {
  value = checked_number<std::int64_t>(place, node, node);
}

void read(const Place& place, const YAML::Node& node, std::uint64_t& value) {
  value = checked_number<std::uint64_t>(place, node, node);
}

void read(const Place& place, const YAML::Node& node, double& value) {
  value = checked_number<double>(place, node, node);
}

void read(const Place& place, const YAML::Node& node, std::optional<double>& value) {
  if (node.IsScalar() && node.Scalar() == kVariantsOwn) {
    value.reset();
  } else {
    value = checked_number<double>(place, node, node);
  }
}

void read(const Place& place, const YAML::Node& node, std::string& value) {
  const auto& choices = place.key.choices;
  if (!node.IsScalar() || std::ranges::find(choices, node.Scalar()) == choices.end()) {
    reject(place, node, "one of {}", fmt::join(choices, ", "));
  }
  value = node.Scalar();
}

template <typename T>
void read(const Place& place, const YAML::Node& node, std::vector<T>& values) {
  values.clear();
  if (node.IsScalar()) {
    values.push_back(checked_number<T>(place, node, node));
  } else if (node.IsSequence()) {
    for (const YAML::Node& element : node) values.push_back(checked_number<T>(place, node, element));
  } else {
    reject(place, node, "a list of numbers");
  }
}

void read(const Place& place, const YAML::Node& node, ClassWeights& value) {
  value = {};
  if (node.IsSequence() && node.size() > 0) {
    read(place, node, value.listed);
  } else if (node.IsScalar() && node.Scalar() == kBalancedWeights) {
    value.balanced = true;
  } else if (!node.IsScalar() || node.Scalar() != kNoWeights) {
    reject(place, node, "{}, {} or a list with a number for each class", kNoWeights, kBalancedWeights);
  }
}

void set(Recipe& recipe, const std::string& source, const RecipeKey& key, const YAML::Node& node) {
  const auto read_field = [&](const auto& field) { read(Place{source, key}, node, field(recipe)); };
  std::visit(read_field, key.field);
}

const RecipeKey& find_key(const std::string& name, const std::string& source) {
  std::vector<std::string> names;
  for (const RecipeKey& key : recipe_keys()) {
    if (key.name == name) return key;
    names.push_back(key.name);
  }
  const std::string close = nearest(name, names);
  fail_usage(
      "{}: there is no key {}{}", source, name,
      close.empty() ? "; `spatialmamba train --show-config` lists them" : "; did you mean " + close + "?");
}

YAML::Node parse_yaml(const std::string& text, const std::string& source) {
  try {
    return YAML::Load(text);
  } catch (const YAML::Exception& error) {
    fail_usage("{}: not valid YAML in line {}, column {}: {}", source, error.mark.line + 1,
               error.mark.column + 1, printable(error.msg));
  }
}

void require_once(std::set<std::string>& seen, const std::string& name, const std::string& source) {
  if (!seen.insert(name).second) fail_usage("{}: {} stands there twice", source, name);
}

void read_section(Recipe& recipe, const std::string& source, const std::string& section,
                  const YAML::Node& node) {
  if (!node.IsMap()) {
    find_key(section, source);  // says which key may have been meant
    fail_usage("{}: {} is no section with keys", source, section);
  }
  std::set<std::string> seen;
  for (const auto& entry : node) {
    const std::string name = section + "." + entry.first.Scalar();
    require_once(seen, name, source);
    set(recipe, source, find_key(name, source), entry.second);
  }
}

Recipe read_file_at(const std::filesystem::path& path, int depth);

Recipe parse_text_at(const std::string& text, const std::string& source, const std::filesystem::path& folder,
                     int depth) {
  const YAML::Node root = parse_yaml(text, source);
  Recipe recipe;
  if (root.IsNull()) return recipe;
  if (!root.IsMap()) fail_usage("{}: expected sections such as `train:` with keys below them", source);
  if (const YAML::Node base = root["base"]) {
    if (!base.IsScalar()) fail_usage("{}: base is no file name", source);
    if (depth >= kDeepestBase) fail_usage("{}: `base` leads on and on; does it lead back here?", source);
    recipe = read_file_at(folder / base.Scalar(), depth + 1);
  }
  std::set<std::string> seen;
  for (const auto& entry : root) {
    const std::string& section = entry.first.Scalar();
    require_once(seen, section, source);
    if (section != "base") read_section(recipe, source, section, entry.second);
  }
  return recipe;
}

Recipe read_file_at(const std::filesystem::path& path, int depth) {
  return parse_text_at(read_text(path), path.string(), path.parent_path(), depth);
}

std::string to_text(bool value) {
  return value ? "true" : "false";
}
std::string to_text(const std::string& value) {
  return value;
}
std::string to_text(const std::optional<double>& value) {
  return value ? fmt::format("{}", *value) : kVariantsOwn;
}
template <typename T>
std::string to_text(const std::vector<T>& values) {
  return fmt::format("[{}]", fmt::join(values, ", "));
}
std::string to_text(const ClassWeights& value) {
  if (value.balanced) return kBalancedWeights;
  return value.listed.empty() ? kNoWeights : to_text(value.listed);
}
template <typename T>
std::string to_text(T value) {
  return fmt::format("{}", value);
}

std::string value_text(const Recipe& recipe, const RecipeKey& key) {
  Recipe copy = recipe;  // a field hands out references that can be written
  return std::visit([&](const auto& field) { return to_text(field(copy)); }, key.field);
}

std::string help_text(const RecipeKey& key) {
  if (!key.choices.empty()) return fmt::format("{} ({})", key.help, fmt::join(key.choices, ", "));
  return key.help;
}

void require_count(const char* name, std::size_t count, std::size_t expected) {
  if (count != expected) fail_usage("{} has {} values, expected {}", name, count, expected);
}

void require_range(const char* name, const std::vector<double>& range) {
  require_count(name, range.size(), 2);
  if (range[0] > range[1])
    fail_usage("{} is [{}, {}], expected the smaller one first", name, range[0], range[1]);
}

}  // namespace

Recipe read_recipe(const std::filesystem::path& path) {
  return read_file_at(path, 0);
}

Recipe parse_recipe(const std::string& text, const std::string& source, const std::filesystem::path& folder) {
  return parse_text_at(text, source, folder, 0);
}

void override_key(Recipe& recipe, const std::string& assignment) {
  const std::size_t equals = assignment.find('=');
  if (equals == std::string::npos || equals == 0) {
    fail_usage("'{}': expected an assignment such as train.epochs=5", assignment);
  }
  const std::string source = "command line";
  const RecipeKey& key = find_key(assignment.substr(0, equals), source);
  set(recipe, source, key, parse_yaml(assignment.substr(equals + 1), assignment));
}

void validate(const Recipe& recipe) {
  const bool custom = recipe.model.variant == "custom";
  if (custom && (recipe.model.dims.empty() || recipe.model.dims.size() != recipe.model.depths.size())) {
    fail_usage("model.dims and model.depths have {} and {} values, expected one for each stage",
               recipe.model.dims.size(), recipe.model.depths.size());
  }
  if (!custom && (!recipe.model.dims.empty() || !recipe.model.depths.empty())) {
    fail_usage("model.dims and model.depths belong to model.variant: custom, not to {}",
               recipe.model.variant);
  }
  if (recipe.model.task != "classification" && recipe.model.scan != "row") {
    fail_usage("model.scan is {}, an ablation of classifiers; {} scans rows", recipe.model.scan,
               recipe.model.task);
  }
  if (recipe.data.channels == 2) fail_usage("data.channels is 2, expected 1 or 3");
  if (recipe.data.size.empty() || recipe.data.size.size() > 2) {
    fail_usage("data.size has {} values, expected one or [height, width]", recipe.data.size.size());
  }
  const auto channels = static_cast<std::size_t>(recipe.data.channels);
  require_count("data.mean", recipe.data.mean.size(), channels);
  require_count("data.std", recipe.data.std.size(), channels);
  require_count("optimizer.betas", recipe.optimizer.betas.size(), 2);
  require_range("augment.area", recipe.augment.area);
  require_range("augment.ratio", recipe.augment.ratio);
  require_range("augment.erasing_area", recipe.augment.erasing_area);
  if (recipe.train.mesa.value_or(0.0) > 0.0 && !recipe.train.ema) {
    fail_usage("train.mesa is {} but train.ema is false: the averaged weights are its teacher",
               *recipe.train.mesa);
  }
  if (recipe.segmentation.fit.size() != 2) {
    fail_usage("segmentation.fit has {} values, expected [long side, short side]",
               recipe.segmentation.fit.size());
  }
  require_range("segmentation.ratio", recipe.segmentation.ratio);
  if (recipe.detection.fit.size() != 2) {
    fail_usage("detection.fit has {} values, expected [long side, short side]", recipe.detection.fit.size());
  }
  if (recipe.detection.crop.size() != 2 || recipe.detection.crop[0] > recipe.detection.crop[1]) {
    fail_usage("detection.crop must be [smallest, largest]");
  }
  if (recipe.model.task != "classification") return;  // what follows counts epochs
  if (recipe.optimizer.warmup_epochs >= static_cast<double>(recipe.train.epochs)) {
    fail_usage("optimizer.warmup_epochs is {}, expected less than train.epochs, which is {}",
               recipe.optimizer.warmup_epochs, recipe.train.epochs);
  }
}

std::string to_yaml(const Recipe& recipe, bool help) {
  std::string text;
  std::string section;
  for (const RecipeKey& key : recipe_keys()) {
    const std::size_t dot = key.name.find('.');
    if (key.name.substr(0, dot) != section) {
      section = key.name.substr(0, dot);
      text += fmt::format("{}{}:\n", text.empty() ? "" : "\n", section);
    }
    std::string line = fmt::format("  {}: {}", key.name.substr(dot + 1), value_text(recipe, key));
    if (help) line = fmt::format("{:<34}  # {}{}", line, help_text(key), range_text(key));
    text += line + "\n";
  }
  return text;
}

std::vector<std::string> differences(const Recipe& first, const Recipe& second) {
  std::vector<std::string> found;
  for (const RecipeKey& key : recipe_keys()) {
    const std::string a = value_text(first, key);
    const std::string b = value_text(second, key);
    if (key.effect == Effect::result && a != b)
      found.push_back(fmt::format("{} was {}, is {}", key.name, a, b));
  }
  return found;
}

std::int64_t replicas_of(const Recipe& recipe) {
  return std::max<std::int64_t>(recipe.train.replicas, 1);
}

std::int64_t images_per_update(const Recipe& recipe) {
  return recipe.train.batch * recipe.train.accumulation * replicas_of(recipe);
}

double scaled_rate(const Recipe& recipe, double rate) {
  if (recipe.optimizer.rate_batch == 0) return rate;
  return rate * static_cast<double>(images_per_update(recipe)) /
         static_cast<double>(recipe.optimizer.rate_batch);
}

}  // namespace spatialmamba::train
