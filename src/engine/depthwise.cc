#include "engine/depthwise.h"

#include <algorithm>

namespace spatialmamba::engine {

void convolve_pixels(const kernels::DepthwiseWeights& conv, const Map& map, kernels::RowRange pixels,
                     float* y, kernels::Isa isa) {
  const MapShape& in = map.shape;
  const MapShape out = conv.stride == 2 ? halved(in, in.channels) : in;
  const std::int64_t per_image = out.height * out.width;
  for (std::int64_t pixel = pixels.begin; pixel < pixels.end;) {
    const std::int64_t first = pixel % per_image;
    const std::int64_t count = std::min(per_image - first, pixels.end - pixel);
    const float* image = map.data + pixel / per_image * in.height * in.width * in.channels;
    kernels::depthwise_pixels(conv, image, in.height, in.width, {first, first + count},
                              y + (pixel - pixels.begin) * in.channels, isa);
    pixel += count;
  }
}

}  // namespace spatialmamba::engine
