#pragma once

#include <cstddef>
#include <cstdint>

namespace spatialmamba::image {

/// grey[i] = the ITU-R 601-2 luma of pixel i (red, green, blue), in Pillow's 16-bit fixed point.
void luma(const std::uint8_t* pixels, std::size_t count, std::uint8_t* grey);

/// Pillow's Image.blend of each pixel with its own luma: in float32, cut off to 8 bits.
void blend_with_luma(std::uint8_t* pixels, std::size_t count, float factor);

/// A row of a picture with its neighbours.
struct SmoothedRow {
  const std::uint8_t* above;
  const std::uint8_t* here;
  const std::uint8_t* below;
  std::size_t pixels;
  std::size_t channels;
};

/// The same with the 3 x 3 mean that counts the centre five times, into all of `out` but its first and last
/// pixel.
void blend_with_smoothed(const SmoothedRow& row, float factor, std::uint8_t* out);

}  // namespace spatialmamba::image
