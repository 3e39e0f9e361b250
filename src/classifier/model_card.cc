#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "classifier/card_parts.h"
#include "image/size.h"
#include "model/imagenet.h"
#include "spatialmamba/classifier.h"

namespace spatialmamba {
namespace {

using Metadata = std::map<std::string, std::string>;

std::array<float, 3> three_numbers(const std::string& text) {
  const auto values = nlohmann::json::parse(text).get<std::vector<float>>();
  if (values.size() != 1 && values.size() != 3) fail("expected 1 or 3 numbers, found {}", values.size());
  return {values.front(), values[values.size() / 2], values.back()};
}

/// One entry of the metadata; a value that cannot be read is the file's fault.
template <typename Use>
void with_entry(const Metadata& metadata, const std::string& source, const char* key, const Use& use) {
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

void name_classes(std::int64_t classes, const Metadata& metadata, const std::string& source,
                  ModelCard& card) {
  card.named = true;
  with_entry(metadata, source, "classes",
             [&](const std::string& text) { nlohmann::json::parse(text).get_to(card.classes); });
  if (!card.classes.empty()) return require_class_count(card.classes, classes, source);
  const auto imagenet = imagenet_classes();
  if (classes == std::ssize(imagenet)) {
    card.classes.assign(imagenet.begin(), imagenet.end());
    return;
  }
  card.named = false;
  for (std::int64_t i = 0; i < classes; ++i) card.classes.push_back(fmt::format("class {}", i));
}

InputTransform transform_of(const Metadata& metadata, const std::string& source) {
  InputTransform transform;
  with_entry(metadata, source, "size", [&](const std::string& text) {
    const auto [height, width] = image::parse_size(text);
    transform.height = height;
    transform.width = width;
  });
  with_entry(metadata, source, "mean",
             [&](const std::string& text) { transform.mean = three_numbers(text); });
  with_entry(metadata, source, "std", [&](const std::string& text) { transform.std = three_numbers(text); });
  with_entry(metadata, source, "crop",
             [&](const std::string& text) { nlohmann::json::parse(text).get_to(transform.crop); });
  with_entry(metadata, source, "interpolation", [&](const std::string& text) {
    image::filter_from_name(text);
    transform.interpolation = text;
  });
  return transform;
}

}  // namespace

void require_class_count(const std::vector<std::string>& names, std::int64_t classes,
                         const std::string& source) {
  if (std::ssize(names) != classes) {
    fail("{}: holds {} class names, but the network tells {} classes apart", source, names.size(), classes);
  }
}

ModelCard model_card(const Architecture& architecture, const Metadata& metadata, const std::string& source,
                     const CardOverrides& overrides) {
  ModelCard card;
  card.transform = transform_of(metadata, source);
  card.transform.channels = architecture.in_channels;
  if (overrides.height > 0) card.transform.height = overrides.height;
  if (overrides.width > 0) card.transform.width = overrides.width;
  try {
    eval_transform(card.transform);
  } catch (const Error& error) {
    fail("{}: {}", source, error.what());
  }
  if (overrides.classes.empty()) {
    name_classes(architecture.num_classes, metadata, source, card);
  } else {
    require_class_count(overrides.classes, architecture.num_classes, "the caller's list");
    card.classes = overrides.classes;
    card.named = true;
  }
  return card;
}

}  // namespace spatialmamba
