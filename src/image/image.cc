#include "image/image.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "image/color_passes.h"

namespace spatialmamba::image {
namespace {

Image repeat_grey(const Image& grey) {
  Image colour(grey.width, grey.height, 3);
  std::uint8_t* out = colour.pixels.data();
  for (const std::uint8_t value : grey.pixels) {
    out[0] = out[1] = out[2] = value;
    out += 3;
  }
  return colour;
}

Image to_grey(const Image& colour) {
  Image grey(colour.width, colour.height, 1);
  luma(colour.pixels.data(), grey.pixels.size(), grey.pixels.data());
  return grey;
}

/// A constant number of channels turns the copies into single moves.
template <std::size_t kChannels>
void flip_row(const std::uint8_t* from, int width, std::uint8_t* to) {
  to += kChannels * static_cast<std::size_t>(width);
  for (int x = 0; x < width; ++x, from += kChannels) std::copy_n(from, kChannels, to -= kChannels);
}

}  // namespace

Image with_channels(Image picture, int channels) {
  if (channels != 1 && channels != 3) fail("a picture has 1 or 3 channels, not {}", channels);
  if (picture.channels == channels) return picture;
  return channels == 3 ? repeat_grey(picture) : to_grey(picture);
}

Image crop(const Image& picture, const Rect& part) {
  require_inside(picture, part);
  Image out(part.width, part.height, picture.channels);
  for (int y = 0; y < part.height; ++y) {
    const std::uint8_t* from =
        picture.row(part.top + y) + static_cast<std::ptrdiff_t>(part.left) * picture.channels;
    std::memcpy(out.row(y), from, out.row_bytes());
  }
  return out;
}

Image flip_horizontal(const Image& picture) {
  Image out(picture.width, picture.height, picture.channels);
  for (int y = 0; y < picture.height; ++y) {
    (picture.channels == 1 ? flip_row<1> : flip_row<3>)(picture.row(y), picture.width, out.row(y));
  }
  return out;
}

void require_inside(int width, int height, const Rect& part) {
  const bool inside = part.width > 0 && part.height > 0 && part.left >= 0 && part.top >= 0 &&
                      part.left <= width - part.width && part.top <= height - part.height;
  if (!inside) {
    fail("crop {} x {} at ({}, {}) does not lie inside a picture of {} x {}", part.width, part.height,
         part.left, part.top, width, height);
  }
}

}  // namespace spatialmamba::image
