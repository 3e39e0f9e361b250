#pragma once

#include <filesystem>

#include "data/coco.h"

namespace spatialmamba::data {

/// The objects of a file as they stand there, unchecked; for read_coco(). Throws Error naming the file and
/// the byte at which it stops being JSON, or the entry and the field of an unexpected type.
CocoFile parse_coco(const std::filesystem::path& path, bool results);

}  // namespace spatialmamba::data
