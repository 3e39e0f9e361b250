#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "image/image.h"

namespace spatialmamba::image {

/// 1 channel where the file is grey, else 3. Throws Error naming `name`.
Image decode_png(std::span<const std::byte> bytes, const std::string& name, std::int64_t max_pixels);

/// The numbers of a grey or palette PNG, not their colours; see read_label_map().
Image decode_label_png(std::span<const std::byte> bytes, const std::string& name, std::int64_t max_pixels);

std::vector<std::byte> compress_png(const Image& picture);

}  // namespace spatialmamba::image
