#pragma once

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

/// Row `row` of the map resized to out_height x out_width, bilinear, by PyTorch's rule without aligned
/// corners: pixel i of n lies at max((i + 1/2) · size / n - 1/2, 0) of the source. Written to out [out_width,
/// C], or (add) added to it. One thread.
void resize_map_row(const MapView& map, std::int64_t out_height, std::int64_t out_width, std::int64_t row,
                    bool add, float* out, Isa isa);

}  // namespace spatialmamba::kernels
