#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "data/dataset.h"

namespace spatialmamba::data {

/// Picture files with the names of their classes.
struct LabelledFiles {
  std::vector<std::filesystem::path> files;
  std::vector<std::string> labels;
};

/// The data set of these files: options.classes, or `found` where that is empty, numbers the classes. Throws
/// Error, beginning with `source`, for a class that is not among those expected.
Dataset file_dataset(const std::filesystem::path& source, LabelledFiles files, std::vector<std::string> found,
                     const DatasetOptions& options);

}  // namespace spatialmamba::data
