#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "base/random.h"
#include "engine/map.h"
#include "engine/parameters.h"

namespace spatialmamba::engine::test {

/// A map in double precision.
struct NaiveMap {
  MapShape shape;
  std::vector<double> values;

  explicit NaiveMap(const MapShape& s) : shape(s), values(static_cast<std::size_t>(s.size())) {}
  /// Numbers that single precision holds, in [-1, 1).
  static NaiveMap random(const MapShape& shape, std::uint64_t seed) {
    NaiveMap map(shape);
    Random random(seed);
    for (double& value : map.values)
      value = static_cast<double>(static_cast<float>(random.uniform(-1.0, 1.0)));
    return map;
  }

  double& at(std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t c) {
    return values[static_cast<std::size_t>(((n * shape.height + y) * shape.width + x) * shape.channels + c)];
  }
  double at(std::int64_t n, std::int64_t y, std::int64_t x, std::int64_t c) const {
    return const_cast<NaiveMap*>(this)->at(n, y, x, c);
  }
  std::vector<float> floats() const { return {values.begin(), values.end()}; }
  NaiveMap& operator+=(const NaiveMap& other) {
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += other.values[i];
    return *this;
  }
};

/// [outputs, inputs] with bias; sums stay near 1.
inline Affine random_affine(std::int64_t outputs, std::int64_t inputs, std::uint64_t seed) {
  Random random(seed);
  const double most = 1.0 / std::sqrt(static_cast<double>(inputs));
  Affine affine{.weights = std::vector<float>(static_cast<std::size_t>(outputs * inputs)),
                .bias = std::vector<float>(static_cast<std::size_t>(outputs))};
  for (float& value : affine.weights) value = static_cast<float>(random.uniform(-most, most));
  for (float& value : affine.bias) value = static_cast<float>(random.uniform(-1.0, 1.0));
  return affine;
}

/// [outputs, inputs, 3, 3] with bias.
inline Affine random_convolution(std::int64_t outputs, std::int64_t inputs, std::uint64_t seed) {
  return random_affine(outputs, 9 * inputs, seed);
}

inline NaiveMap rectified(NaiveMap map) {
  for (double& value : map.values) value = std::max(value, 0.0);
  return map;
}

/// A linear layer on the channels of each pixel.
inline NaiveMap mixed(const NaiveMap& map, const Affine& affine) {
  const auto outputs = std::ssize(affine.bias);
  const std::int64_t inputs = map.shape.channels;
  NaiveMap out({map.shape.images, map.shape.height, map.shape.width, outputs});
  for (std::int64_t i = 0; i < out.shape.size(); ++i) {
    const auto o = static_cast<std::size_t>(i % outputs);
    const auto pixel = static_cast<std::size_t>(i / outputs * inputs);
    double sum = static_cast<double>(affine.bias[o]);
    for (std::size_t c = 0; c < static_cast<std::size_t>(inputs); ++c) {
      sum += static_cast<double>(affine.weights[o * static_cast<std::size_t>(inputs) + c]) *
             map.values[pixel + c];
    }
    out.values[static_cast<std::size_t>(i)] = sum;
  }
  return out;
}

/// The convolution with stride 1 and zero padding 1.
inline NaiveMap convolved(const NaiveMap& map, const Affine& affine) {
  const auto outputs = std::ssize(affine.bias);
  const MapShape& s = map.shape;
  NaiveMap out({s.images, s.height, s.width, outputs});
  for (std::int64_t pixel = 0; pixel < s.tokens(); ++pixel) {
    const std::int64_t y = pixel / s.width % s.height;
    const std::int64_t x = pixel % s.width;
    for (std::int64_t o = 0; o < outputs; ++o) {
      double sum = static_cast<double>(affine.bias[static_cast<std::size_t>(o)]);
      for (std::int64_t k = 0; k < 9; ++k) {
        const std::int64_t at_y = y + k / 3 - 1;
        const std::int64_t at_x = x + k % 3 - 1;
        if (at_y < 0 || at_y >= s.height || at_x < 0 || at_x >= s.width) continue;
        for (std::int64_t c = 0; c < s.channels; ++c) {
          const float weight = affine.weights[static_cast<std::size_t>((o * s.channels + c) * 9 + k)];
          sum += static_cast<double>(weight) * map.at(pixel / (s.width * s.height), at_y, at_x, c);
        }
      }
      out.at(pixel / (s.width * s.height), y, x, o) = sum;
    }
  }
  return out;
}

}  // namespace spatialmamba::engine::test
