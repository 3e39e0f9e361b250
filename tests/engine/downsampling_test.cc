#include "engine/downsampling.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "engine/naive_convolution.h"
#include "support/golden.h"

namespace spatialmamba::engine {
namespace {

struct Sizes {
  MapShape map;
  std::int64_t hidden;
  std::int64_t outputs;
};

std::vector<Sizes> sizes() {
  std::vector<Sizes> list = {{{1, 1, 1, 1}, 1, 1},     {{1, 1, 1, 4}, 32, 8},     {{1, 2, 3, 5}, 40, 7},
                             {{2, 17, 1, 3}, 16, 5},   {{1, 1, 140, 8}, 17, 16},  {{1, 34, 60, 16}, 128, 3},
                             {{3, 33, 59, 7}, 56, 20}, {{1, 65, 29, 4}, 33, 2},   {{2, 16, 28, 6}, 300, 9},
                             {{1, 70, 61, 5}, 129, 4}, {{1, 19, 114, 33}, 16, 40}};
  Random random(8);
  for (int i = 0; i < 6; ++i) {
    list.push_back({{1 + random.below(3), 1 + random.below(50), 1 + random.below(70), 1 + random.below(20)},
                    1 + random.below(160),
                    1 + random.below(40)});
  }
  return list;
}

/// The three layers as they are written down.
struct Layers {
  Sizes size;
  Affine expand;  ///< 1x1
  Affine conv;    ///< depthwise 3x3
  Affine reduce;  ///< 1x1

  Layers(const Sizes& s, std::uint64_t seed)
      : size(s),
        expand(test::random_affine(s.hidden, s.map.channels, seed)),
        conv(test::random_affine(s.hidden, 9, seed + 1)),
        reduce(test::random_affine(s.outputs, s.hidden, seed + 2)) {}

  Downsampling packed(kernels::Isa isa, kernels::Multiply multiply) const {
    const auto linear = [&](const Affine& affine) {
      const auto outputs = std::ssize(affine.bias);
      return PackedLinear(outputs, std::ssize(affine.weights) / outputs, affine.weights.data(),
                          affine.bias.data(), isa, multiply);
    };
    const auto tap = [&](std::int64_t k, std::int64_t c) {
      return conv.weights[static_cast<std::size_t>(9 * c + k)];
    };
    return {.expand = linear(expand),
            .conv = {.channels = size.hidden,
                     .stride = 2,
                     .activation = kernels::Activation::relu,
                     .taps = {9, size.hidden, tap},
                     .bias = {conv.bias.begin(), conv.bias.end()}},
            .reduce = linear(reduce)};
  }

  std::vector<double> applied(const test::NaiveMap& map) const {
    const test::NaiveMap expanded = test::rectified(test::mixed(map, expand));
    test::NaiveMap halved_map(halved(size.map, size.hidden));
    const MapShape& shape = halved_map.shape;
    for (std::int64_t i = 0; i < shape.size(); ++i) {
      const std::int64_t c = i % shape.channels;
      const std::int64_t x = i / shape.channels % shape.width;
      const std::int64_t y = i / shape.channels / shape.width % shape.height;
      const std::int64_t n = i / shape.channels / shape.width / shape.height;
      double sum = static_cast<double>(conv.bias[static_cast<std::size_t>(c)]);
      for (std::int64_t k = 0; k < 9; ++k) {
        const std::int64_t at_y = 2 * y + k / 3 - 1;
        const std::int64_t at_x = 2 * x + k % 3 - 1;
        if (at_y < 0 || at_y >= size.map.height || at_x < 0 || at_x >= size.map.width) continue;
        sum += static_cast<double>(conv.weights[static_cast<std::size_t>(9 * c + k)]) *
               expanded.at(n, at_y, at_x, c);
      }
      halved_map.values[static_cast<std::size_t>(i)] = sum;
    }
    return test::mixed(test::rectified(halved_map), reduce).values;
  }
};

TEST(Downsampling, EqualsItsLayersOneByOneInTilesAndWhole) {
  std::uint64_t seed = 0;
  int tiled = 0;
  int whole = 0;
  for (const Sizes& size : sizes()) {
    SCOPED_TRACE(testing::Message() << size.map.images << " x " << size.map.height << " x " << size.map.width
                                    << ", " << size.map.channels << " to " << size.hidden << " to "
                                    << size.outputs << " channels");
    const Layers layers(size, seed += 10);
    const test::NaiveMap map = test::NaiveMap::random(size.map, seed);
    const std::vector<float> data = map.floats();
    const std::vector<double> expected = layers.applied(map);
    for (const kernels::Isa isa : kernels::supported_isas()) {
      for (const kernels::Multiply multiply : {kernels::Multiply::full, kernels::Multiply::bf16}) {
        const Downsampling down = layers.packed(isa, multiply);
        const bool full = multiply == kernels::Multiply::full;
        for (const int threads : {1, 3}) {
          ThreadPool pool(threads);
          const ParallelFor parallel = pool.parallel_for();
          kernels::GemmScratch scratch;
          const std::int64_t floats = downsampling_memory(down, size.map, threads);
          ++(floats == 0 ? tiled : whole);
          std::vector<float> expanded(static_cast<std::size_t>(floats), NAN);
          std::vector<float> out(expected.size(), NAN);
          downsample(Executor(isa, parallel, scratch, nullptr), down, {size.map, data.data()},
                     expanded.data(), out.data());
          EXPECT_LE(spatialmamba::test::relative_deviation({out.begin(), out.end()}, expected),
                    full ? 2e-6 : 1.5e-2)
              << kernels::name_of(isa) << ", " << threads << " threads" << (full ? "" : ", bf16");
        }
      }
    }
  }
  EXPECT_GT(tiled, 0);
  EXPECT_GT(whole, 0);
}

}  // namespace
}  // namespace spatialmamba::engine
