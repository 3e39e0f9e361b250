#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "image/codec.h"
#include "image/image.h"

namespace spatialmamba::image {

/// 1 channel where the file is grey, else 3. Throws Error naming `name`.
Image decode_jpeg(std::span<const std::byte> bytes, const std::string& name, std::int64_t max_pixels);

std::vector<std::byte> compress_jpeg(const Image& picture, const JpegOptions& options);

}  // namespace spatialmamba::image
