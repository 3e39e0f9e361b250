#pragma once

#include <cstdint>
#include <vector>

#include "base/random.h"
#include "model/initialise.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::test {

/// A network of odd sizes that runs in a moment.
inline Architecture small_architecture(std::int64_t in_channels = 3) {
  return {.variant = "custom",
          .dims = {6, 20, 34},
          .depths = {1, 2, 1},
          .in_channels = in_channels,
          .num_classes = 7};
}

inline Weights small_weights(std::int64_t in_channels = 3, std::uint64_t seed = 1) {
  return {initial_weights(small_architecture(in_channels), seed), {}};
}

/// Random images and what is needed to hand them over.
struct Images {
  std::int64_t count, height, width, channels;
  std::vector<float> pixels;  ///< NHWC

  Images(std::int64_t n, std::int64_t h, std::int64_t w, std::int64_t c = 3, std::uint64_t seed = 1)
      : count(n), height(h), width(w), channels(c), pixels(static_cast<std::size_t>(n * h * w * c)) {
    Random random(seed);
    for (float& value : pixels) value = static_cast<float>(random.uniform(-2.0, 2.0));
  }

  ImageBatch batch() const {
    return {.data = pixels.data(), .count = count, .height = height, .width = width};
  }
  /// Image i alone.
  ImageBatch batch(std::int64_t i) const {
    return {
        .data = pixels.data() + i * height * width * channels, .count = 1, .height = height, .width = width};
  }
};

inline std::vector<double> widened(std::span<const float> values) {
  return {values.begin(), values.end()};
}

}  // namespace spatialmamba::test
