#include <memory>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "data/dataset.h"
#include "data/encoded_dataset.h"

namespace spatialmamba::data {
namespace {

struct ListedPictures {
  std::vector<std::string> files;
  std::vector<std::int64_t> labels;
};

ListedPictures read_list(const std::filesystem::path& path) {
  const nlohmann::json list = nlohmann::json::parse(read_text(path), nullptr, false);
  if (!list.is_array() || list.empty()) {
    fail("{}: expected a JSON list of [file, number of its class]", path.string());
  }
  ListedPictures pictures;
  for (const nlohmann::json& entry : list) {
    const bool holds =
        entry.is_array() && entry.size() >= 2 && entry[0].is_string() && entry[1].is_number_unsigned();
    if (!holds) {
      fail("{}: entry {} is not [file, number of its class]", path.string(), pictures.files.size());
    }
    pictures.files.push_back(entry[0].get<std::string>());
    pictures.labels.push_back(entry[1].get<std::int64_t>());
  }
  return pictures;
}

}  // namespace

Dataset json_map_dataset(const std::filesystem::path& list, const DatasetOptions& options) {
  ListedPictures pictures = read_list(list);
  Dataset dataset;
  dataset.labels = std::move(pictures.labels);
  dataset.classes = numbered_classes(list.parent_path(), list.string(), dataset.labels, options);
  const auto files = std::make_shared<const std::vector<std::string>>(std::move(pictures.files));
  dataset.name = [files, folder = list.parent_path()](std::int64_t i) {
    return (folder / files->at(static_cast<std::size_t>(i))).string();
  };
  load_encoded(dataset, read_files(dataset.name), options);
  return dataset;
}

}  // namespace spatialmamba::data
