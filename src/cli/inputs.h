#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace spatialmamba::cli {

/// The pictures that a user names: files, folders (every picture in them, also in subfolders, sorted by
/// name), patterns with * ? [ ] and `-` for standard input. Throws Error for something that does not exist, a
/// folder without pictures and a pattern that matches nothing.
std::vector<std::filesystem::path> find_pictures(const std::vector<std::string>& arguments);

/// A file name for each picture inside one folder: STEM.png, with a number where stems repeat.
std::vector<std::filesystem::path> output_names(const std::vector<std::filesystem::path>& pictures);

}  // namespace spatialmamba::cli
