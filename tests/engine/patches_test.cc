#include "engine/patches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "base/random.h"
#include "engine/network.h"
#include "engine/small_model.h"

namespace spatialmamba::engine {
namespace {

struct Case {
  std::int64_t images, height, width, channels, stride;
};

std::vector<Case> cases() {
  std::vector<Case> list = {{1, 1, 1, 4, 1}, {1, 1, 1, 4, 2},  {2, 1, 2, 4, 2},  {1, 2, 1, 8, 1},
                            {3, 3, 3, 4, 2}, {2, 4, 5, 12, 1}, {1, 9, 2, 32, 2}, {2, 6, 17, 48, 2}};
  Random random(2);
  for (int i = 0; i < 12; ++i) {
    list.push_back({1 + random.below(3), 1 + random.below(12), 1 + random.below(12),
                    2 * (1 + random.below(40)), 1 + random.below(2)});
  }
  return list;
}

/// [pixels][3][3][C], pixel by pixel.
std::vector<float> naive_patches(const ConvInput& in) {
  std::vector<float> patches;
  for (std::int64_t pixel = 0; pixel < in.pixels(); ++pixel) {
    const std::int64_t image = pixel / (in.out_height() * in.out_width());
    for (std::int64_t k = 0; k < 9; ++k) {
      const std::int64_t y = pixel / in.out_width() % in.out_height() * in.stride + k / 3 - 1;
      const std::int64_t x = pixel % in.out_width() * in.stride + k % 3 - 1;
      const bool inside = y >= 0 && y < in.height && x >= 0 && x < in.width;
      for (std::int64_t c = 0; c < in.channels; ++c) {
        patches.push_back(inside ? in.x[((image * in.height + y) * in.width + x) * in.channels + c] : 0.0F);
      }
    }
  }
  return patches;
}

/// A layer that hands its inputs on shows what was packed.
kernels::PackedLinear identity(std::int64_t inputs, kernels::Isa isa, kernels::Multiply multiply) {
  std::vector<float> weights(static_cast<std::size_t>(inputs * inputs));
  for (std::int64_t i = 0; i < inputs; ++i) weights[static_cast<std::size_t>(i * inputs + i)] = 1.0F;
  return {inputs, inputs, weights.data(), nullptr, isa, multiply};
}

TEST(Patches, AnyRangeOfPixelsEqualsTheNaiveOnes) {
  Random random(5);
  for (const Case& size : cases()) {
    std::vector<float> x(static_cast<std::size_t>(size.images * size.height * size.width * size.channels));
    // Small integers, which bfloat16 holds exactly.
    for (float& value : x) value = static_cast<float>(1 + random.below(200));
    const ConvInput in{x.data(), size.images, size.height, size.width, size.channels, size.stride};
    const std::vector<float> expected = naive_patches(in);
    const std::int64_t inputs = 9 * size.channels;
    SCOPED_TRACE(testing::Message() << size.images << " x " << size.height << " x " << size.width << " x "
                                    << size.channels << ", stride " << size.stride);
    for (const kernels::Isa isa : kernels::supported_isas()) {
      for (const kernels::Multiply multiply : {kernels::Multiply::full, kernels::Multiply::bf16}) {
        const kernels::PackedLinear layer = identity(inputs, isa, multiply);
        for (std::int64_t begin = 0; begin < in.pixels();) {
          const std::int64_t end = std::min(in.pixels(), begin + 1 + random.below(40));
          const std::int64_t rows = end - begin;
          kernels::AlignedVector<float> memory(static_cast<std::size_t>(layer.packed_size(rows)),
                                               std::numeric_limits<float>::quiet_NaN());
          const kernels::PackedRows packed{memory.data(), rows};
          pack_patches(layer, in, {begin, end}, packed);
          std::vector<float> patches(static_cast<std::size_t>(rows * inputs));
          layer.multiply(packed, {0, inputs}, {.data = patches.data(), .stride = inputs});
          ASSERT_TRUE(std::equal(patches.begin(), patches.end(), expected.begin() + begin * inputs))
              << kernels::name_of(isa) << ", pixels " << begin << " to " << end;
          begin = end;
        }
      }
    }
  }
}

TEST(Patches, ImagesAreCopiedWithPaddingFromEitherLayout) {
  ThreadPool pool(3);
  for (const std::int64_t channels : {1, 3, 4, 5}) {
    const test::Images images(2, 19, 7, channels);
    std::vector<float> planar(images.pixels.size());
    const std::int64_t pixels = images.height * images.width;
    for (std::size_t i = 0; i < planar.size(); ++i) {
      const auto at = static_cast<std::int64_t>(i);
      const std::int64_t image = at / (pixels * channels);
      planar[static_cast<std::size_t>((image * channels + at % channels) * pixels + at / channels % pixels)] =
          images.pixels[i];
    }
    ImageBatch nchw = images.batch();
    nchw.data = planar.data();
    nchw.layout = ImageBatch::Layout::nchw;
    const std::int64_t padded = stem_padded(channels);
    std::vector<float> expected;
    for (std::int64_t i = 0; i < images.count * pixels; ++i) {
      for (std::int64_t c = 0; c < padded; ++c) {
        expected.push_back(c < channels ? images.pixels[static_cast<std::size_t>(i * channels + c)] : 0.0F);
      }
    }
    for (const ImageBatch& batch : {images.batch(), nchw}) {
      std::vector<float> copy(expected.size(), 9.0F);
      copy_images(batch, channels, copy.data(), pool.parallel_for());
      EXPECT_EQ(copy, expected) << channels;
    }
  }
}

}  // namespace
}  // namespace spatialmamba::engine
