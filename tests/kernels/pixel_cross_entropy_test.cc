#include "kernels/pixel_cross_entropy.h"

#include <algorithm>

#include "kernel_test.h"
#include "kernels/resize_map.h"

namespace spatialmamba::kernels::test {
namespace {

struct Case {
  std::int64_t images, height, width, classes, label_height, label_width;
};
const Case kCases[] = {{1, 1, 1, 1, 1, 1},     {2, 3, 4, 2, 3, 4},     {1, 5, 3, 11, 20, 12},
                       {2, 37, 5, 16, 61, 19}, {1, 16, 9, 17, 64, 36}, {1, 33, 2, 150, 40, 8},
                       {2, 9, 7, 3, 4, 3},     {1, 2, 2, 255, 7, 9}};

template <typename T>
struct Example {
  Example(const Case& shape, std::uint64_t seed)
      : scores(random_values<T>(shape.images * shape.height * shape.width * shape.classes, seed, -4.0, 4.0)) {
    Random random(seed + 1);
    for (std::int64_t i = 0; i < shape.images * shape.label_height * shape.label_width; ++i) {
      const bool known = shape.classes == 1 || random.uniform() < 0.8;
      labels.push_back(
          known ? static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(shape.classes)))
                : kUnknown);
    }
    input = {shape.images,       shape.height,      shape.width,   shape.classes, scores.data(),
             shape.label_height, shape.label_width, labels.data(), kUnknown};
  }

  static constexpr std::int64_t kUnknown = 999;
  std::vector<T> scores;
  std::vector<std::int64_t> labels;
  PixelScores<T> input;
};

/// By the definition, pixel by pixel, in double.
template <typename T>
struct Reference {
  explicit Reference(const PixelScores<T>& in)
      : gradient(static_cast<std::size_t>(in.images * in.height * in.width * in.classes)) {
    for (std::int64_t n = 0; n < in.images; ++n) {
      for (std::int64_t y = 0; y < in.label_height; ++y) {
        for (std::int64_t x = 0; x < in.label_width; ++x) add_pixel(in, n, y, x);
      }
    }
  }

  void add_pixel(const PixelScores<T>& in, std::int64_t n, std::int64_t y, std::int64_t x) {
    const std::int64_t label = in.labels[(n * in.label_height + y) * in.label_width + x];
    if (label == in.unknown) return;
    ++total.known;
    const auto row = neighbours_of<T>(y, in.height, in.label_height);
    const auto column = neighbours_of<T>(x, in.width, in.label_width);
    const auto corners = {
        corner(in, n, row.first, column.first, (1.0 - row.share) * (1.0 - column.share)),
        corner(in, n, row.first, column.second, (1.0 - row.share) * column.share),
        corner(in, n, row.second, column.first, row.share * (1.0 - column.share)),
        corner(in, n, row.second, column.second, static_cast<double>(row.share) * column.share)};
    std::vector<double> s(static_cast<std::size_t>(in.classes));
    for (const auto& [at, weight] : corners) {
      for (std::size_t c = 0; c < s.size(); ++c) s[c] += weight * static_cast<double>(in.scores[at + c]);
    }
    const auto highest = std::max_element(s.begin(), s.end());
    total.right += highest - s.begin() == label ? 1 : 0;
    double sum = 0.0;
    for (const double value : s) sum += std::exp(value - *highest);
    total.sum += std::log(sum) + *highest - s[static_cast<std::size_t>(label)];
    for (const auto& [at, weight] : corners) {
      for (std::size_t c = 0; c < s.size(); ++c) {
        gradient[at + c] += weight * std::exp(s[c] - *highest) / sum;
      }
      gradient[at + static_cast<std::size_t>(label)] -= weight;
    }
  }

  struct Corner {
    std::size_t at;
    double weight;
  };
  static Corner corner(const PixelScores<T>& in, std::int64_t n, std::int64_t y, std::int64_t x,
                       double weight) {
    return {static_cast<std::size_t>(((n * in.height + y) * in.width + x) * in.classes), weight};
  }

  PixelCrossEntropy total;
  std::vector<double> gradient;
};

template <typename T>
class PixelCrossEntropyTest : public testing::Test {};
TYPED_TEST_SUITE(PixelCrossEntropyTest, Precisions);

TYPED_TEST(PixelCrossEntropyTest, EqualsTheDefinition) {
  using T = TypeParam;
  for (const Case& shape : kCases) {
    SCOPED_TRACE(testing::Message() << shape.images << " x " << shape.height << " x " << shape.width << " x "
                                    << shape.classes << " for " << shape.label_height << " x "
                                    << shape.label_width);
    const Example<T> example(shape, 5);
    const Reference<T> expected(example.input);
    for_every_target([&](Isa isa, const ParallelFor& parallel) {
      std::vector<T> gradient(example.scores.size(), T{7});
      const PixelCrossEntropy total = pixel_cross_entropy(example.input, gradient.data(), isa, parallel);
      EXPECT_NEAR(total.sum, expected.total.sum, kTolerance<T> * (1.0 + expected.total.sum));
      EXPECT_EQ(total.known, expected.total.known);
      EXPECT_EQ(total.right, expected.total.right);
      if (shape.classes > 1) expect_close("gradient", gradient, expected.gradient);
      const PixelCrossEntropy alone = pixel_cross_entropy<T>(example.input, nullptr, isa, parallel);
      EXPECT_EQ(alone.sum, total.sum);
      EXPECT_EQ(alone.right, total.right);
    });
  }
}

TYPED_TEST(PixelCrossEntropyTest, ThreadsDoNotChangeABit) {
  using T = TypeParam;
  const Example<T> example({3, 40, 6, 13, 83, 17}, 8);
  std::vector<T> first(example.scores.size());
  const PixelCrossEntropy serial = pixel_cross_entropy(example.input, first.data(), default_isa(), {});
  ThreadPool pool(3);
  std::vector<T> second(example.scores.size());
  const PixelCrossEntropy shared =
      pixel_cross_entropy(example.input, second.data(), default_isa(), pool.parallel_for());
  EXPECT_EQ(first, second);
  EXPECT_EQ(serial.sum, shared.sum);
}

TYPED_TEST(PixelCrossEntropyTest, NothingKnownIsNothing) {
  using T = TypeParam;
  Example<T> example({1, 3, 3, 4, 6, 6}, 2);
  std::fill(example.labels.begin(), example.labels.end(), Example<T>::kUnknown);
  std::vector<T> gradient(example.scores.size(), T{7});
  const PixelCrossEntropy total = pixel_cross_entropy(example.input, gradient.data(), default_isa(), {});
  EXPECT_EQ(total.sum, 0.0);
  EXPECT_EQ(total.known, 0);
  EXPECT_EQ(gradient, std::vector<T>(gradient.size()));
}

TYPED_TEST(PixelCrossEntropyTest, WhatIsNotFiniteShows) {
  using T = TypeParam;
  Example<T> example({1, 3, 3, 4, 6, 6}, 2);
  example.scores[5] = std::numeric_limits<T>::quiet_NaN();
  for (const Isa isa : supported_isas()) {
    EXPECT_FALSE(std::isfinite(pixel_cross_entropy<T>(example.input, nullptr, isa, {}).sum)) << name_of(isa);
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::test
