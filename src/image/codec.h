#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "image/image.h"

namespace spatialmamba::image {

struct DecodeOptions {
  /// 3: colour, as Pillow's convert("RGB"); 1: grey, as convert("L"); 0: 1 where the file is grey, 3
  /// otherwise.
  int channels = 3;
  /// Turn the picture upright as its EXIF orientation asks. The reference's transform ignores the
  /// orientation.
  bool apply_orientation = false;
  /// A header that claims more is refused before anything is allocated.
  std::int64_t max_pixels = 100'000'000;
};

/// Decodes a JPEG (grey, colour, CMYK, YCCK; baseline or progressive) or a PNG (any colour type and bit
/// depth, interlaced or not), told apart by content. Transparency is dropped, 16-bit samples keep their high
/// byte, CMYK becomes RGB with Pillow's arithmetic. `name` stands for the bytes in messages. Throws Error for
/// anything else, and for truncated or corrupt data (nothing is ever half decoded).
Image decode(std::span<const std::byte> bytes, const std::string& name, const DecodeOptions& options = {});

/// decode() of a file; "-" is standard input.
Image read_image(const std::filesystem::path& path, const DecodeOptions& options = {});

/// A PNG of numbers, one per pixel: grey (1 to 8 bits) as its stored values, palette as its indices. Throws
/// Error naming the file for colours, 16 bits and other formats, whose pixels are no label numbers.
Image read_label_map(const std::filesystem::path& path, std::int64_t max_pixels = 100'000'000);

/// True for a name that ends in .jpg, .jpeg or .png, in any case.
bool is_image_name(const std::filesystem::path& path);

struct JpegOptions {
  int quality = 92;           ///< 1 to 100
  bool halve_chroma = false;  ///< 4:2:0, as cameras write it, instead of full chroma resolution
};

/// 1 or 3 channels.
std::vector<std::byte> encode_png(const Image& picture);
std::vector<std::byte> encode_jpeg(const Image& picture, const JpegOptions& options = {});

/// Red, green, blue.
using Rgb = std::array<std::uint8_t, 3>;

/// A number for each pixel, rows top to bottom.
struct Numbers {
  int width = 0;
  int height = 0;
  std::vector<std::uint16_t> values;

  /// Zeros.
  Numbers(int w, int h)
      : width(w), height(h), values(static_cast<std::size_t>(w) * static_cast<std::size_t>(h)) {}
};

/// A PNG of numbers that viewers show in colours: the pixels (1 channel) stay what they are. Throws Error for
/// a number that has no colour.
std::vector<std::byte> encode_indexed_png(const Image& numbers, std::span<const Rgb> palette);
/// A grey PNG of 16 bits.
std::vector<std::byte> encode_numbers_png(const Numbers& numbers);

/// Encodes by the name's ending and writes atomically. Throws Error for another ending.
void write_image(const std::filesystem::path& path, const Image& picture);

}  // namespace spatialmamba::image
