#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "classifier/card_parts.h"
#include "image/size.h"
#include "model/imagenet.h"
#include "spatialmamba/classifier.h"

namespace spatialmamba {
namespace {

using Metadata = std::map<std::string, std::string>;

/// ImageNet's for as many classes.
std::vector<std::string> built_in_names(std::int64_t classes) {
  const auto imagenet = imagenet_classes();
  if (classes != std::ssize(imagenet)) return {};
  return {imagenet.begin(), imagenet.end()};
}

InputTransform transform_of(const Metadata& metadata, const std::string& source) {
  InputTransform transform;
  with_metadata(metadata, source, "size", [&](const std::string& text) {
    const auto [height, width] = image::parse_size(text);
    transform.height = height;
    transform.width = width;
  });
  with_metadata(metadata, source, "mean",
                [&](const std::string& text) { transform.mean = three_numbers(text); });
  with_metadata(metadata, source, "std",
                [&](const std::string& text) { transform.std = three_numbers(text); });
  with_metadata(metadata, source, "crop",
                [&](const std::string& text) { nlohmann::json::parse(text).get_to(transform.crop); });
  with_metadata(metadata, source, "interpolation", [&](const std::string& text) {
    image::filter_from_name(text);
    transform.interpolation = text;
  });
  return transform;
}

}  // namespace

std::array<float, 3> three_numbers(const std::string& text) {
  const auto values = nlohmann::json::parse(text).get<std::vector<float>>();
  if (values.size() != 1 && values.size() != 3) fail("expected 1 or 3 numbers, found {}", values.size());
  return {values.front(), values[values.size() / 2], values.back()};
}

void with_metadata(const Metadata& metadata, const std::string& source, const char* key,
                   const std::function<void(const std::string&)>& use) {
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

ClassNames class_names(std::int64_t classes, const Metadata& metadata, const std::string& source,
                       const std::vector<std::string>& built_in) {
  ClassNames result{.names = {}, .known = true};
  with_metadata(metadata, source, "classes",
                [&](const std::string& text) { nlohmann::json::parse(text).get_to(result.names); });
  if (!result.names.empty()) {
    require_class_count(result.names, classes, source);
  } else if (!built_in.empty()) {
    result.names = built_in;
  } else {
    result.known = false;
    for (std::int64_t i = 0; i < classes; ++i) result.names.push_back(fmt::format("class {}", i));
  }
  return result;
}

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
    ClassNames names =
        class_names(architecture.num_classes, metadata, source, built_in_names(architecture.num_classes));
    card.classes = std::move(names.names);
    card.named = names.known;
  } else {
    require_class_count(overrides.classes, architecture.num_classes, "the caller's list");
    card.classes = overrides.classes;
    card.named = true;
  }
  return card;
}

}  // namespace spatialmamba
