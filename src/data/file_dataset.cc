#include "data/file_dataset.h"

#include <memory>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "data/encoded_dataset.h"

namespace spatialmamba::data {

Dataset file_dataset(const std::filesystem::path& source, LabelledFiles files, std::vector<std::string> found,
                     const DatasetOptions& options) {
  Dataset dataset;
  dataset.classes = options.classes.empty() ? std::move(found) : options.classes;
  std::unordered_map<std::string, std::int64_t> index;
  for (const std::string& name : dataset.classes)
    index.emplace(name, static_cast<std::int64_t>(index.size()));
  for (std::size_t i = 0; i < files.labels.size(); ++i) {
    const auto entry = index.find(files.labels[i]);
    if (entry == index.end()) {
      fail("{}: {} is of class '{}', which is not one of the {} expected", source.string(),
           files.files[i].string(), files.labels[i], dataset.classes.size());
    }
    dataset.labels.push_back(entry->second);
  }
  const auto paths = std::make_shared<const std::vector<std::filesystem::path>>(std::move(files.files));
  dataset.name = [paths](std::int64_t i) { return paths->at(static_cast<std::size_t>(i)).string(); };
  load_encoded(dataset, read_files(dataset.name), options);
  return dataset;
}

}  // namespace spatialmamba::data
