#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "spatialmamba/weights.h"

namespace spatialmamba {

/// Numbers of classes, one a line, as ImageNet-22K's map to 1K has them. Throws Error naming file and line.
std::vector<std::int64_t> read_class_map(const std::filesystem::path& path);

/// Keeps the rows of the head that `classes` names, in that order, and the classes' names where the metadata
/// have them. Throws Error naming `source` without a head or for a class that it lacks.
void select_classes(Weights& weights, std::span<const std::int64_t> classes, const std::string& source);

}  // namespace spatialmamba
