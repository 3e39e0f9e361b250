#include "image/image.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"

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

Image luma(const Image& colour) {
  Image grey(colour.width, colour.height, 1);
  const std::uint8_t* in = colour.pixels.data();
  for (std::uint8_t& value : grey.pixels) {
    value = static_cast<std::uint8_t>((in[0] * 19595U + in[1] * 38470U + in[2] * 7471U + 0x8000U) >> 16U);
    in += 3;
  }
  return grey;
}

}  // namespace

Image with_channels(Image picture, int channels) {
  if (channels != 1 && channels != 3) fail("a picture has 1 or 3 channels, not {}", channels);
  if (picture.channels == channels) return picture;
  return channels == 3 ? repeat_grey(picture) : luma(picture);
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
  const std::ptrdiff_t channels = picture.channels;
  for (int y = 0; y < picture.height; ++y) {
    const std::uint8_t* from = picture.row(y);
    std::uint8_t* to = out.row(y) + picture.row_bytes();
    for (int x = 0; x < picture.width; ++x, from += channels) {
      to -= channels;
      std::copy(from, from + channels, to);
    }
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
