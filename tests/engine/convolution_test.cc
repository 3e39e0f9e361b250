#include "engine/convolution.h"

#include <gtest/gtest.h>

#include <array>
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
    const bool with_residual = seed % 8 < 4;
    const auto residual = test::NaiveMap::random({1, 1, 1, std::ssize(expected.values)}, ++seed).floats();
    for (std::size_t i = 0; i < residual.size(); ++i) {
      double& value = expected.values[i];
      if (relu) value = std::max(value, 0.0);
      if (with_residual) value += static_cast<double>(residual[i]);
    }
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
            convolve(
                Executor(isa, parallel, scratch, nullptr), "", convolution, {shape, data.data()},
                {.data = out.data(), .relu = relu, .residual = with_residual ? residual.data() : nullptr});
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

TEST(TileConvolution, LayersBehindSeeEveryPixelOnce) {
  std::uint64_t seed = 0;
  for (const auto& [shape, outputs] : sizes()) {
    SCOPED_TRACE(testing::Message() << shape.images << " x " << shape.height << " x " << shape.width << ", "
                                    << shape.channels << " to " << outputs << " channels");
    const std::vector<float> data = test::NaiveMap::random(shape, ++seed).floats();
    const Affine affine = test::random_convolution(outputs, shape.channels, ++seed);
    const std::array<Affine, 2> behind = {test::random_affine(3, outputs, ++seed),
                                          test::random_affine(40, outputs, ++seed)};
    for (const kernels::Isa isa : kernels::supported_isas()) {
      for (const kernels::Multiply multiply : {kernels::Multiply::full, kernels::Multiply::bf16}) {
        const TileConvolution convolution = packed(affine, shape.channels, WinogradTile::two, isa, multiply);
        std::array<PackedLinear, 2> layers;
        std::array<std::vector<float>, 2> out;
        for (std::size_t i = 0; i < layers.size(); ++i) {
          const auto columns = std::ssize(behind[i].bias);
          layers[i] = {columns, outputs, behind[i].weights.data(), behind[i].bias.data(), isa, multiply};
          out[i].assign(static_cast<std::size_t>(shape.tokens() * columns), NAN);
        }
        for (const int threads : {1, 3}) {
          ThreadPool pool(threads);
          const ParallelFor parallel = pool.parallel_for();
          kernels::GemmScratch scratch;
          const Executor run(isa, parallel, scratch, nullptr);
          convolve_into(
              run, "", convolution, {shape, data.data()},
              std::array<PixelLayer, 2>{{{&layers[0], out[0].data()}, {&layers[1], out[1].data()}}});
          std::vector<float> hidden(static_cast<std::size_t>(shape.tokens() * outputs));
          convolve(run, "", convolution, {shape, data.data()}, {.data = hidden.data(), .relu = true});
          for (std::size_t i = 0; i < layers.size(); ++i) {
            std::vector<float> expected(out[i].size());
            run.apply(layers[i], shape.tokens(), hidden.data(),
                      {.data = expected.data(), .stride = layers[i].outputs()});
            EXPECT_EQ(out[i], expected) << kernels::name_of(isa) << ", " << threads << " threads";
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace spatialmamba::engine
