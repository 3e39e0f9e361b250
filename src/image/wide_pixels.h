#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace spatialmamba::image {

/// Bytes of a pixel where it is to be one group of a vector's lanes: the picture's channels come first, what
/// follows them has no meaning.
constexpr std::size_t kPixelSlots = 4;

/// `count` pixels of kChannels bytes, which lie `from_step` and `to_step` bytes apart. One move of four bytes
/// is faster than three of one: the fourth has no meaning in a wide pixel, and elsewhere the next pixel
/// covers it; behind the last one nothing is read or written.
template <std::size_t kChannels>
void copy_pixels(const std::uint8_t* from, std::size_t from_step, int count, std::uint8_t* to,
                 std::size_t to_step) {
  for (; count > 1; --count, from += from_step, to += to_step) {
    std::memcpy(to, from, kChannels == 1 ? 1 : kPixelSlots);
  }
  if (count == 1) std::memcpy(to, from, kChannels);
}

/// Pixels of 1 or 3 bytes to wide ones (grey ones may be narrower), `step` bytes apart.
inline void widen_pixels(std::size_t channels, const std::uint8_t* from, int count, std::uint8_t* to,
                         std::size_t step) {
  (channels == 1 ? copy_pixels<1> : copy_pixels<3>)(from, channels, count, to, step);
}

/// The way back.
inline void narrow_pixels(std::size_t channels, const std::uint8_t* from, std::size_t step, int count,
                          std::uint8_t* to) {
  (channels == 1 ? copy_pixels<1> : copy_pixels<3>)(from, step, count, to, channels);
}

}  // namespace spatialmamba::image
