#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "archive/source.h"
#include "data/dataset.h"

namespace spatialmamba::data {

/// Pictures as JPEG or PNG files somewhere: `read` gives the bytes of picture i and throws Error naming it.
using ReadEncoded = std::function<Record(std::int64_t)>;

/// Reads the files of these names.
ReadEncoded read_files(std::function<std::string(std::int64_t)> name);

/// Completes a data set that has classes, labels and names by decoding what `read` gives. With options.cache
/// the encoded bytes stay in memory from their first use on.
void load_encoded(Dataset& dataset, ReadEncoded read, const DatasetOptions& options);

/// The classes of labels that are numbers: options.classes; or the lines of `classes.txt` in `folder`; or
/// else the numbers from 0 to the largest label. Throws Error, beginning with `source`, for a label that is
/// not among them.
std::vector<std::string> numbered_classes(const std::filesystem::path& folder, const std::string& source,
                                          const std::vector<std::int64_t>& labels,
                                          const DatasetOptions& options);

}  // namespace spatialmamba::data
