#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace spatialmamba::image {

/// Bytes of a pixel where it is to be one group of a vector's lanes: the picture's channels come first, what
/// follows them has no meaning.
constexpr std::size_t kPixelSlots = 4;

/// `count` pixels of kChannels bytes to pixels that lie `step` bytes (at least kPixelSlots) apart. One move
/// of four bytes is faster than three of one; only behind the last pixel there may be nothing to read.
template <std::size_t kChannels>
void widen_pixels(const std::uint8_t* from, int count, std::uint8_t* to, std::size_t step) {
  static_assert(kChannels < kPixelSlots);
  for (; count > 1; --count, from += kChannels, to += step) {
    std::memcpy(to, from, kChannels == 1 ? 1 : kPixelSlots);
  }
  if (count == 1) std::memcpy(to, from, kChannels);
}

/// The way back; nothing is written behind the last pixel.
template <std::size_t kChannels>
void narrow_pixels(const std::uint8_t* from, std::size_t step, int count, std::uint8_t* to) {
  static_assert(kChannels < kPixelSlots);
  for (; count > 1; --count, from += step, to += kChannels) {
    std::memcpy(to, from, kChannels == 1 ? 1 : kPixelSlots);
  }
  if (count == 1) std::memcpy(to, from, kChannels);
}

}  // namespace spatialmamba::image
