#pragma once

#include <filesystem>
#include <initializer_list>
#include <string>
#include <vector>

#include "spatialmamba/weights.h"

namespace spatialmamba::cli {

/// The pictures that a user names: files, folders (every picture in them, also in subfolders, sorted by
/// name), patterns with * ? [ ] and `-` for standard input. Throws Error for something that does not exist, a
/// folder without pictures and a pattern that matches nothing.
std::vector<std::filesystem::path> find_pictures(const std::vector<std::string>& arguments);

/// A file name for each picture inside one folder: STEM.png, with a number where stems repeat.
std::vector<std::filesystem::path> output_names(const std::vector<std::filesystem::path>& pictures);

/// The tensor `input` of a .safetensors file: images [N, channels, H, W] of one of the types. Throws Error
/// naming the file.
Tensor input_tensor(const Weights& file, const std::filesystem::path& path, std::int64_t channels,
                    std::initializer_list<DType> types);

}  // namespace spatialmamba::cli
