#include "engine/upsampled.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "engine/naive_convolution.h"
#include "engine/parameters.h"
#include "kernels/resize_map.h"
#include "support/golden.h"

namespace spatialmamba::engine {
namespace {

/// Layers of a convolution [outputs, inputs, 3, 3].
UpsampledConvolution packed(const Affine& affine, std::int64_t inputs, kernels::Isa isa,
                            kernels::Multiply multiply) {
  UpsampledConvolution convolution;
  const auto outputs = std::ssize(affine.bias);
  for (std::int64_t o = 0; o < outputs; o += kTapChannels) {
    const Affine block = kernel_taps(affine, {o, std::min(o + kTapChannels, outputs)}, {0, inputs});
    convolution.blocks.emplace_back(std::ssize(block.bias), inputs, block.weights.data(), nullptr, isa,
                                    multiply);
  }
  return convolution;
}

/// The map at height x width, bilinear.
test::NaiveMap resized(const test::NaiveMap& map, std::int64_t height, std::int64_t width) {
  test::NaiveMap out({map.shape.images, height, width, map.shape.channels});
  for (std::int64_t n = 0; n < map.shape.images; ++n) {
    for (std::int64_t y = 0; y < height; ++y) {
      const kernels::Neighbours rows = kernels::neighbours_of(y, map.shape.height, height);
      for (std::int64_t x = 0; x < width; ++x) {
        const kernels::Neighbours columns = kernels::neighbours_of(x, map.shape.width, width);
        for (std::int64_t c = 0; c < map.shape.channels; ++c) {
          const auto line = [&](std::int64_t row) {
            return (1.0 - static_cast<double>(columns.share)) * map.at(n, row, columns.first, c) +
                   static_cast<double>(columns.share) * map.at(n, row, columns.second, c);
          };
          out.at(n, y, x, c) = (1.0 - static_cast<double>(rows.share)) * line(rows.first) +
                               static_cast<double>(rows.share) * line(rows.second);
        }
      }
    }
  }
  return out;
}

struct Sizes {
  std::int64_t images, height, width, inputs, outputs;
  std::vector<std::array<std::int64_t, 2>> maps;  ///< height, width
};

std::vector<Sizes> sizes() {
  std::vector<Sizes> list = {
      {1, 1, 1, 4, 3, {{1, 1}}},                              // nothing to enlarge
      {2, 1, 1, 6, 33, {{6, 6}, {1, 1}}},                     // made smaller
      {1, 16, 16, 32, 64, {{1, 1}, {2, 2}, {3, 3}, {6, 6}}},  // pooled maps
      {1, 32, 24, 40, 40, {{16, 12}, {8, 6}, {4, 3}}},        // levels
      {1, 7, 300, 8, 16, {{4, 150}}},                         // a row wider than a group
  };
  Random random(11);
  for (int i = 0; i < 8; ++i) {
    Sizes size{1 + random.below(2),  1 + random.below(20), 1 + random.below(20),
               1 + random.below(40), 1 + random.below(70), {}};
    for (std::int64_t k = 0; k <= random.below(3); ++k) {
      size.maps.push_back({1 + random.below(24), 1 + random.below(24)});
    }
    list.push_back(size);
  }
  return list;
}

TEST(Upsampled, EqualsTheConvolutionOfResizedMaps) {
  std::uint64_t seed = 0;
  for (const Sizes& size : sizes()) {
    SCOPED_TRACE(testing::Message() << size.images << " x " << size.height << " x " << size.width << ", "
                                    << size.inputs << " to " << size.outputs << " channels, "
                                    << size.maps.size() << " maps, the first " << size.maps[0][0] << " x "
                                    << size.maps[0][1]);
    const MapShape shape{size.images, size.height, size.width, size.outputs};
    const test::NaiveMap start = test::NaiveMap::random(shape, ++seed);
    test::NaiveMap expected = start;
    std::vector<Affine> affines;
    std::vector<test::NaiveMap> maps;
    for (const auto& [height, width] : size.maps) {
      maps.push_back(test::NaiveMap::random({size.images, height, width, size.inputs}, ++seed));
      affines.push_back(test::random_convolution(size.outputs, size.inputs, ++seed));
      std::ranges::fill(affines.back().bias, 0.0F);
      expected += test::convolved(resized(maps.back(), size.height, size.width), affines.back());
    }
    for (double& value : expected.values) value = std::max(value, 0.0);
    for (const kernels::Isa isa : kernels::supported_isas()) {
      for (const kernels::Multiply multiply : {kernels::Multiply::full, kernels::Multiply::bf16}) {
        std::vector<UpsampledConvolution> convolutions;
        for (const Affine& affine : affines)
          convolutions.push_back(packed(affine, size.inputs, isa, multiply));
        std::vector<std::vector<float>> data;
        std::vector<UpsampledInput> inputs;
        for (std::size_t i = 0; i < maps.size(); ++i) {
          data.push_back(maps[i].floats());
          inputs.push_back({&convolutions[i], {maps[i].shape, data.back().data()}});
        }
        const bool full = multiply == kernels::Multiply::full;
        for (const int threads : {1, 3}) {
          ThreadPool pool(threads);
          const ParallelFor parallel = pool.parallel_for();
          kernels::GemmScratch scratch;
          std::vector<float> out = start.floats();
          kernels::AlignedVector<float> memory(static_cast<std::size_t>(upsampled_memory(inputs)), NAN);
          convolve_upsampled(Executor(isa, parallel, scratch, nullptr), "", inputs, shape, true,
                             memory.data(), out.data());
          EXPECT_LE(spatialmamba::test::relative_deviation({out.begin(), out.end()}, expected.values),
                    full ? 2e-6 : 2e-2)
              << kernels::name_of(isa) << ", " << threads << " threads";
        }
      }
    }
  }
}

}  // namespace
}  // namespace spatialmamba::engine
