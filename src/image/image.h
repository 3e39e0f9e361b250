#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace spatialmamba::image {

/// An 8-bit picture, rows top to bottom, channels interleaved: pixels[(y * width + x) * channels + c].
/// 1 channel is grey, 3 are red, green, blue.
struct Image {
  int width = 0;
  int height = 0;
  int channels = 0;
  std::vector<std::uint8_t> pixels;

  Image() = default;
  /// Black.
  Image(int w, int h, int c)
      : width(w), height(h), channels(c), pixels(row_bytes() * static_cast<std::size_t>(h)) {}

  std::size_t row_bytes() const {
    return static_cast<std::size_t>(width) * static_cast<std::size_t>(channels);
  }
  const std::uint8_t* row(int y) const { return pixels.data() + row_bytes() * static_cast<std::size_t>(y); }
  std::uint8_t* row(int y) { return pixels.data() + row_bytes() * static_cast<std::size_t>(y); }

  bool operator==(const Image&) const = default;
};

/// A rectangle of whole pixels.
struct Rect {
  int left = 0;
  int top = 0;
  int width = 0;
  int height = 0;

  bool operator==(const Rect&) const = default;
};

/// All of it.
inline Rect bounds(const Image& picture) {
  return {0, 0, picture.width, picture.height};
}

/// Throws Error when `part` is empty or reaches outside.
void require_inside(int width, int height, const Rect& part);
inline void require_inside(const Image& picture, const Rect& part) {
  require_inside(picture.width, picture.height, part);
}

/// Grey or colour: 1 -> 3 repeats the value, 3 -> 1 is Pillow's convert("L") (ITU-R 601-2 luma, 16-bit fixed
/// point). Throws Error unless `channels` is 1 or 3.
Image with_channels(Image picture, int channels);

/// Copies a part. Throws Error when `part` is empty or reaches outside.
Image crop(const Image& picture, const Rect& part);

/// Mirrors left and right.
Image flip_horizontal(const Image& picture);

}  // namespace spatialmamba::image
