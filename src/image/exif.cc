#include "image/exif.h"

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace spatialmamba::image {
namespace {

using Bytes = std::span<const std::byte>;

constexpr std::uint32_t kOrientationTag = 0x0112;
constexpr std::size_t kIfdEntryBytes = 12;

/// Reads numbers at checked offsets in either byte order.
class NumberReader {
 public:
  NumberReader(Bytes bytes, bool big_endian) : bytes_(bytes), big_endian_(big_endian) {}

  std::optional<std::uint32_t> u16(std::size_t at) const { return number(at, 2); }
  std::optional<std::uint32_t> u32(std::size_t at) const { return number(at, 4); }

 private:
  std::optional<std::uint32_t> number(std::size_t at, std::size_t count) const {
    if (at > bytes_.size() || bytes_.size() - at < count) return std::nullopt;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t k = big_endian_ ? i : count - 1 - i;
      value = (value << 8U) | std::to_integer<std::uint32_t>(bytes_[at + k]);
    }
    return value;
  }

  Bytes bytes_;
  bool big_endian_;
};

bool starts_with(Bytes bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

/// The payload of the first APP1 segment that holds EXIF; empty when there is none before the pixels.
Bytes exif_of_jpeg(Bytes file) {
  constexpr std::uint32_t kStartOfScan = 0xDA;
  constexpr std::uint32_t kApp1 = 0xE1;
  constexpr std::string_view kExif("Exif\0\0", 6);
  const NumberReader numbers(file, true);
  std::size_t at = 2;  // after the start-of-image marker
  while (true) {
    const auto marker = numbers.u16(at);
    const auto length = numbers.u16(at + 2);
    if (!marker || !length || *marker >> 8U != 0xFF || *length < 2) return {};
    const std::uint32_t code = *marker & 0xFFU;
    if (code == kStartOfScan || file.size() - at - 2 < *length) return {};
    const Bytes payload = file.subspan(at + 4, *length - 2);
    if (code == kApp1 && starts_with(payload, kExif)) return payload.subspan(kExif.size());
    at += 2 + *length;
  }
}

/// The payload of a PNG's eXIf chunk.
Bytes exif_of_png(Bytes file) {
  constexpr std::size_t kSignatureBytes = 8;
  constexpr std::size_t kChunkOverhead = 12;  // length, type, checksum
  const NumberReader numbers(file, true);
  std::size_t at = kSignatureBytes;
  while (true) {
    const auto length = numbers.u32(at);
    if (!length || file.size() - at < kChunkOverhead || file.size() - at - kChunkOverhead < *length)
      return {};
    if (starts_with(file.subspan(at + 4), "eXIf")) return file.subspan(at + 8, *length);
    at += kChunkOverhead + *length;
  }
}

/// Looks the tag up in the first directory of a TIFF block.
int orientation_of_tiff(Bytes tiff) {
  if (!starts_with(tiff, "MM") && !starts_with(tiff, "II")) return 1;
  const NumberReader numbers(tiff, starts_with(tiff, "MM"));
  const auto directory = numbers.u32(4);
  if (!directory) return 1;
  const auto entries = numbers.u16(*directory);
  for (std::size_t i = 0; entries && i < *entries; ++i) {
    const std::size_t entry = *directory + 2 + i * kIfdEntryBytes;
    const auto tag = numbers.u16(entry);
    if (!tag) return 1;
    if (*tag != kOrientationTag) continue;
    const auto value = numbers.u16(entry + 8);
    return value && *value >= 1 && *value <= 8 ? static_cast<int>(*value) : 1;
  }
  return 1;
}

Image transpose(const Image& picture) {
  Image out(picture.height, picture.width, picture.channels);
  const auto channels = static_cast<std::size_t>(picture.channels);
  for (int y = 0; y < out.height; ++y) {
    std::uint8_t* to = out.row(y);
    for (int x = 0; x < out.width; ++x, to += channels) {
      std::memcpy(to, picture.row(x) + static_cast<std::size_t>(y) * channels, channels);
    }
  }
  return out;
}

Image flip_vertical(const Image& picture) {
  Image out(picture.width, picture.height, picture.channels);
  for (int y = 0; y < out.height; ++y)
    std::memcpy(out.row(y), picture.row(out.height - 1 - y), out.row_bytes());
  return out;
}

}  // namespace

int exif_orientation(Bytes file) {
  const bool png = starts_with(file, "\x89PNG\r\n\x1A\n");
  return orientation_of_tiff(png ? exif_of_png(file) : exif_of_jpeg(file));
}

Image upright(Image picture, int orientation) {
  // EXIF 2.32, 4.6.4 A: where row 0 and column 0 of the stored picture are when it is seen upright. 5 to 8
  // swap rows and columns; what is left to do then is a mirroring in one or both directions.
  if (orientation >= 5 && orientation <= 8) picture = transpose(picture);
  const bool mirrored = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool upside_down = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;
  if (mirrored) picture = flip_horizontal(picture);
  if (upside_down) picture = flip_vertical(picture);
  return picture;
}

}  // namespace spatialmamba::image
