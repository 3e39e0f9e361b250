#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// A map of one image, [H, W, C], dense.
struct MapView {
  const float* data;
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;
};

/// Two neighbours of a source line and the share of the second.
template <typename T>
struct Neighbours {
  std::int64_t first;
  std::int64_t second;
  T share;
};

/// Where line i of out_size lies between the `size` lines of the source, by PyTorch's rule without aligned
/// corners: at max((i + 1/2) · size / out_size - 1/2, 0).
template <typename T = float>
Neighbours<T> neighbours_of(std::int64_t i, std::int64_t size, std::int64_t out_size) {
  constexpr T kHalf = static_cast<T>(0.5);
  const T scale = static_cast<T>(size) / static_cast<T>(out_size);
  const T at = std::max((static_cast<T>(i) + kHalf) * scale - kHalf, T{0});
  const auto first = std::min(static_cast<std::int64_t>(at), size - 1);
  return {first, std::min(first + 1, size - 1), at - static_cast<T>(first)};
}

/// Row `row` of the map resized to out_height x out_width, bilinear by neighbours_of(). Written to out
/// [out_width, C], or (add) added to it. One thread.
void resize_map_row(const MapView& map, std::int64_t out_height, std::int64_t out_width, std::int64_t row,
                    bool add, float* out, Isa isa);

}  // namespace spatialmamba::kernels
