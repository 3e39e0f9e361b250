#include "cli/model_card.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/file.h"
#include "model/imagenet.h"

namespace spatialmamba::cli {
namespace {

std::vector<std::string> read_class_names(const std::filesystem::path& path) {
  std::vector<std::string> names;
  std::istringstream lines(read_text(path));
  for (std::string line; std::getline(lines, line);) {
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
      line.pop_back();
    if (!line.empty()) names.push_back(line);
  }
  return names;
}

void require_count(const std::vector<std::string>& names, std::int64_t classes, const std::string& source) {
  if (std::ssize(names) != classes) {
    fail("{}: holds {} class names, but the network tells {} classes apart", source, names.size(), classes);
  }
}

std::array<float, 3> three_numbers(const nlohmann::json& json) {
  const auto values = json.get<std::vector<float>>();
  if (values.size() != 1 && values.size() != 3) fail("expected 1 or 3 numbers, found {}", values.size());
  return {values.front(), values[values.size() / 2], values.back()};
}

/// One entry of the metadata; a value that cannot be read is the file's fault.
template <typename Use>
void with_entry(const std::map<std::string, std::string>& metadata, const std::string& source,
                const char* key, const Use& use) {
  const auto entry = metadata.find(key);
  if (entry == metadata.end()) return;
  try {
    use(entry->second);
  } catch (const nlohmann::json::exception&) {
    fail("{}: the metadata entry '{}' cannot be read: '{}'", source, key, entry->second.substr(0, 80));
  } catch (const Error& error) {
    fail("{}: the metadata entry '{}': {}", source, key, error.what());
  }
}

std::vector<std::string> class_names(std::int64_t classes, const std::map<std::string, std::string>& metadata,
                                     const std::string& source, const CardOptions& options, bool& named) {
  std::vector<std::string> names;
  named = true;
  if (!options.classes.empty()) {
    names = read_class_names(options.classes);
    require_count(names, classes, options.classes.string());
    return names;
  }
  with_entry(metadata, source, "classes",
             [&](const std::string& text) { nlohmann::json::parse(text).get_to(names); });
  if (!names.empty()) {
    require_count(names, classes, source);
    return names;
  }
  const auto imagenet = imagenet_classes();
  if (classes == std::ssize(imagenet)) return {imagenet.begin(), imagenet.end()};
  named = false;
  for (std::int64_t i = 0; i < classes; ++i) names.push_back(fmt::format("class {}", i));
  return names;
}

}  // namespace

void add_card(CLI::App& app, CardOptions& options) {
  app.add_option("--classes", options.classes, "Names of the classes, one per line")->type_name("FILE");
  add_size(app, options.size);
}

ModelCard model_card(const Architecture& architecture, const std::map<std::string, std::string>& metadata,
                     const std::string& source, const CardOptions& options) {
  ModelCard card;
  image::InputFormat& format = card.transform.format;
  format.channels = static_cast<int>(architecture.in_channels);
  ImageSize size{format.height, format.width};
  with_entry(metadata, source, "size", [&](const std::string& text) { size = parse_size(text); });
  if (options.size.height > 0) size = options.size;
  format.height = static_cast<int>(size.height);
  format.width = static_cast<int>(size.width);
  with_entry(metadata, source, "mean",
             [&](const std::string& text) { format.mean = three_numbers(nlohmann::json::parse(text)); });
  with_entry(metadata, source, "std",
             [&](const std::string& text) { format.std = three_numbers(nlohmann::json::parse(text)); });
  with_entry(metadata, source, "crop",
             [&](const std::string& text) { nlohmann::json::parse(text).get_to(card.transform.crop); });
  with_entry(metadata, source, "interpolation",
             [&](const std::string& text) { card.transform.filter = image::filter_from_name(text); });
  try {
    image::validate(format);
  } catch (const Error& error) {
    fail("{}: {}", source, error.what());
  }
  card.classes = class_names(architecture.num_classes, metadata, source, options, card.named);
  return card;
}

}  // namespace spatialmamba::cli
