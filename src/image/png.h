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
Image decode_png(std::span<const std::byte> bytes, const std::string& name, std::int64_t max_pixels);

/// The numbers of a grey or palette PNG, not their colours; see read_label_map().
Image decode_label_png(std::span<const std::byte> bytes, const std::string& name, std::int64_t max_pixels);

std::vector<std::byte> compress_png(const Image& picture);
/// See encode_indexed_png() and encode_numbers_png().
std::vector<std::byte> compress_indexed_png(const Image& numbers, std::span<const Rgb> palette);
std::vector<std::byte> compress_numbers_png(const Numbers& numbers);

}  // namespace spatialmamba::image
