#include "image/codec.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cstring>

#include "base/error.h"
#include "base/file.h"
#include "image/exif.h"
#include "image/jpeg.h"
#include "image/png.h"

namespace spatialmamba::image {
namespace {

constexpr std::array<unsigned char, 3> kJpegMagic = {0xFF, 0xD8, 0xFF};
constexpr std::array<unsigned char, 8> kPngMagic = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};

template <std::size_t N>
bool starts_with(std::span<const std::byte> bytes, const std::array<unsigned char, N>& magic) {
  return bytes.size() >= N && std::memcmp(bytes.data(), magic.data(), N) == 0;
}

Image decode_as_stored(std::span<const std::byte> bytes, const std::string& name, std::int64_t max_pixels) {
  if (starts_with(bytes, kJpegMagic)) return decode_jpeg(bytes, name, max_pixels);
  if (starts_with(bytes, kPngMagic)) return decode_png(bytes, name, max_pixels);
  if (bytes.empty()) fail("{}: expected a JPEG or PNG picture, found an empty file", name);
  fail("{}: expected a JPEG or PNG picture, found a file that starts with neither's signature", name);
}

std::string lower_extension(const std::filesystem::path& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

void require_picture(const Image& picture) {
  if (picture.width < 1 || picture.height < 1 || (picture.channels != 1 && picture.channels != 3)) {
    fail("cannot encode a picture of {} x {} with {} channels", picture.width, picture.height,
         picture.channels);
  }
}

}  // namespace

Image decode(std::span<const std::byte> bytes, const std::string& name, const DecodeOptions& options) {
  Image picture = decode_as_stored(bytes, name, options.max_pixels);
  if (options.apply_orientation) picture = upright(std::move(picture), exif_orientation(bytes));
  return options.channels == 0 ? picture : with_channels(std::move(picture), options.channels);
}

Image read_image(const std::filesystem::path& path, const DecodeOptions& options) {
  return decode(read_file(path), path == "-" ? "standard input" : path.string(), options);
}

Image read_label_map(const std::filesystem::path& path, std::int64_t max_pixels) {
  const std::vector<std::byte> bytes = read_file(path);
  if (!starts_with(bytes, kPngMagic)) {
    fail("{}: expected a label map as a PNG file (compression with losses would change the labels)",
         path.string());
  }
  return decode_label_png(bytes, path.string(), max_pixels);
}

std::vector<std::byte> encode_png(const Image& picture) {
  require_picture(picture);
  return compress_png(picture);
}

std::vector<std::byte> encode_indexed_png(const Image& numbers, std::span<const Rgb> palette) {
  require_picture(numbers);
  const auto largest = std::ranges::max(numbers.pixels);
  if (numbers.channels != 1 || largest >= palette.size()) {
    fail("a picture of {} channel(s) with the number {} cannot be shown in {} colours", numbers.channels,
         largest, palette.size());
  }
  return compress_indexed_png(numbers, palette.first(std::min<std::size_t>(palette.size(), 256)));
}

std::vector<std::byte> encode_numbers_png(const Numbers& numbers) {
  if (numbers.values.empty()) fail("an empty picture cannot be written");
  return compress_numbers_png(numbers);
}

std::vector<std::byte> encode_jpeg(const Image& picture, const JpegOptions& options) {
  require_picture(picture);
  if (options.quality < 1 || options.quality > 100)
    fail_usage("JPEG quality {}: expected 1 to 100", options.quality);
  return compress_jpeg(picture, options);
}

bool is_image_name(const std::filesystem::path& path) {
  const std::string extension = lower_extension(path);
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png";
}

void write_image(const std::filesystem::path& path, const Image& picture) {
  const std::string extension = lower_extension(path);
  if (extension == ".png") return write_file(path, encode_png(picture));
  if (extension == ".jpg" || extension == ".jpeg") return write_file(path, encode_jpeg(picture));
  fail("{}: a picture's name must end in .png, .jpg or .jpeg", path.string());
}

}  // namespace spatialmamba::image
