#include "engine/convolution.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "base/parallel.h"
#include "engine/naive_convolution.h"
#include "support/golden.h"

namespace spatialmamba::engine {
namespace {

using kernels::WinogradTile;

TileConvolution packed(const Affine& affine, std::int64_t inputs, WinogradTile tile, kernels::Isa isa,
                       kernels::Multiply multiply) {
  TileConvolution convolution{.tile = tile, .places = {}, .bias = {affine.bias.begin(), affine.bias.end()}};
  const std::int64_t side = kernels::inputs_of(tile);
  for (std::int64_t i = 0; i < side * side; ++i) {
    const Affine place = transformed_kernel(affine, {0, inputs}, tile, i / side, i % side);
    convolution.places.emplace_back(std::ssize(place.bias), inputs, place.weights.data(), nullptr, isa,
                                    multiply);
  }
  return convolution;
}

struct Sizes {
  MapShape map;
  std::int64_t outputs;
};

std::vector<Sizes> sizes() {
  std::vector<Sizes> list = {
      {{1, 1, 1, 4}, 3},     {{2, 2, 1, 1}, 16},  {{1, 4, 4, 32}, 32},  {{3, 5, 3, 7}, 33},
      {{1, 21, 24, 16}, 48}, {{4, 14, 14, 8}, 8}, {{1, 3, 66, 20}, 70}, {{1, 6, 6, 520}, 40},
  };
  Random random(4);
  for (int i = 0; i < 8; ++i) {
    list.push_back({{1 + random.below(3), 1 + random.below(20), 1 + random.below(20), 1 + random.below(40)},
                    1 + random.below(70)});
  }
  return list;
}

TEST(TileConvolution, EqualsThePlainSum) {
  std::uint64_t seed = 0;
  for (const auto& [shape, outputs] : sizes()) {
    SCOPED_TRACE(testing::Message() << shape.images << " x " << shape.height << " x " << shape.width << ", "
                                    << shape.channels << " to " << outputs << " channels");
    const test::NaiveMap map = test::NaiveMap::random(shape, ++seed);
    const std::vector<float> data = map.floats();
    const Affine affine = test::random_convolution(outputs, shape.channels, ++seed);
    test::NaiveMap expected = test::convolved(map, affine);
    const bool relu = seed % 4 == 0;
    for (double& value : expected.values) value = relu ? std::max(value, 0.0) : value;
    for (const kernels::Isa isa : kernels::supported_isas()) {
      for (const kernels::Multiply multiply : {kernels::Multiply::full, kernels::Multiply::bf16}) {
        for (const WinogradTile tile : {WinogradTile::two, WinogradTile::four}) {
          const TileConvolution convolution = packed(affine, shape.channels, tile, isa, multiply);
          const bool full = multiply == kernels::Multiply::full;
          const double tolerance = tile == WinogradTile::two ? (full ? 1e-6 : 1.5e-2) : (full ? 4e-6 : 6e-2);
          for (const int threads : {1, 3}) {
            ThreadPool pool(threads);
            const ParallelFor parallel = pool.parallel_for();
            kernels::GemmScratch scratch;
            std::vector<float> out(expected.values.size(), NAN);
            convolve(Executor(isa, parallel, scratch, nullptr), "", convolution, {shape, data.data()}, relu,
                     out.data());
            EXPECT_LE(spatialmamba::test::relative_deviation({out.begin(), out.end()}, expected.values),
                      tolerance)
                << kernels::name_of(isa) << ", " << threads << " threads, tiles of "
                << kernels::outputs_of(tile) << (full ? "" : ", bf16");
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace spatialmamba::engine
