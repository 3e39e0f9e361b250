#include "kernels/depthwise_pixels.h"

#include <algorithm>
#include <limits>

#include "kernel_test.h"

namespace spatialmamba::kernels::test {
namespace {

struct Case {
  std::int64_t height, width, channels;
};

std::vector<Case> cases() {
  std::vector<Case> list = {{1, 1, 1}, {1, 1, 16}, {1, 9, 3},   {9, 1, 17},  {2, 2, 31},
                            {3, 8, 5}, {5, 7, 33}, {17, 16, 1}, {16, 17, 19}};
  Random random(4);
  for (int i = 0; i < 12; ++i) {
    list.push_back({1 + random.below(30), 1 + random.below(40), 1 + random.below(50)});
  }
  return list;
}

double activated(Activation activation, double v) {
  if (activation == Activation::relu) return std::max(v, 0.0);
  return activation == Activation::silu ? v * logistic(v) : v;
}

struct Problem {
  Case size;
  std::int64_t stride;
  std::vector<float> x, taps, bias;

  Problem(Case s, std::int64_t step)
      : size(s),
        stride(step),
        x(random_values<float>(s.height * s.width * s.channels, 1, -2.0, 2.0)),
        taps(random_values<float>(9 * s.channels, 2)),
        bias(random_values<float>(s.channels, 3)) {}

  std::int64_t out_width() const { return (size.width + stride - 1) / stride; }
  std::int64_t pixels() const { return (size.height + stride - 1) / stride * out_width(); }

  DepthwiseWeights weights(Activation activation) const {
    return {size.channels, stride, activation,
            ChannelBlocks(9, size.channels,
                          [&](std::int64_t k, std::int64_t c) {
                            return taps[static_cast<std::size_t>(k * size.channels + c)];
                          }),
            AlignedVector<float>(bias.begin(), bias.end())};
  }

  std::vector<double> reference(Activation activation) const {
    std::vector<double> y;
    for (std::int64_t pixel = 0; pixel < pixels(); ++pixel) {
      for (std::int64_t c = 0; c < size.channels; ++c) {
        double sum = static_cast<double>(bias[static_cast<std::size_t>(c)]);
        for (std::int64_t k = 0; k < 9; ++k) {
          const std::int64_t row = pixel / out_width() * stride + k / 3 - 1;
          const std::int64_t column = pixel % out_width() * stride + k % 3 - 1;
          if (row < 0 || row >= size.height || column < 0 || column >= size.width) continue;
          sum += static_cast<double>(taps[static_cast<std::size_t>(k * size.channels + c)]) *
                 static_cast<double>(
                     x[static_cast<std::size_t>((row * size.width + column) * size.channels + c)]);
        }
        y.push_back(activated(activation, sum));
      }
    }
    return y;
  }
};

TEST(DepthwisePixels, AnyRangeOfPixels) {
  Random random(6);
  for (const Case& size : cases()) {
    for (const std::int64_t stride : {1, 2}) {
      const Problem problem(size, stride);
      const std::int64_t channels = size.channels;
      SCOPED_TRACE(testing::Message()
                   << size.height << " x " << size.width << " x " << channels << ", stride " << stride);
      for (const Activation activation : {Activation::none, Activation::silu, Activation::relu}) {
        const std::vector<double> all = problem.reference(activation);
        const DepthwiseWeights weights = problem.weights(activation);
        for (const Isa isa : supported_isas()) {
          SCOPED_TRACE(name_of(isa));
          for (std::int64_t begin = 0; begin < problem.pixels();) {
            const std::int64_t end =
                std::min(problem.pixels(), begin + 1 + random.below(2 * size.width + 40));
            constexpr float kUntouched = 77.0F;
            std::vector<float> y(static_cast<std::size_t>((end - begin + 1) * channels), kUntouched);
            depthwise_pixels(weights, problem.x.data(), size.height, size.width, {begin, end}, y.data(), isa);
            const std::vector<float> behind(y.end() - channels, y.end());
            EXPECT_EQ(behind, std::vector<float>(behind.size(), kUntouched));
            y.resize(y.size() - behind.size());
            const std::vector<double> expected(all.begin() + begin * channels, all.begin() + end * channels);
            for (std::size_t i = 0; i < y.size(); ++i) {
              ASSERT_NEAR(static_cast<double>(y[i]), expected[i], 1e-5) << begin << " + " << i;
            }
            begin = end;
          }
        }
      }
    }
  }
}

TEST(DepthwisePixels, RowsWhoseInputsAreAllThere) {
  for (const Case& size : cases()) {
    if (size.height < 3 || size.width < 3) continue;
    for (const std::int64_t stride : {1, 2}) {
      SCOPED_TRACE(testing::Message() << size.width << " x " << size.channels << ", stride " << stride);
      const Problem problem(size, stride);
      const RowRange channels{size.channels > kBlockChannels ? kBlockChannels : 0, size.channels};
      const std::int64_t width = channels.end - channels.begin;
      std::vector<float> x;
      for (std::int64_t pixel = 0; pixel < 3 * size.width; ++pixel) {
        const auto from = problem.x.begin() + pixel * size.channels;
        x.insert(x.end(), from + channels.begin, from + channels.end);
      }
      const auto slack = static_cast<std::size_t>(kDepthwiseSlack * width);
      x.resize(x.size() + slack, std::numeric_limits<float>::quiet_NaN());
      const std::int64_t count = (size.width - 3) / stride + 1;
      std::vector<double> expected;
      for (std::int64_t i = 0; i < count * width; ++i) {
        const std::int64_t c = channels.begin + i % width;
        double sum = static_cast<double>(problem.bias[static_cast<std::size_t>(c)]);
        for (std::int64_t k = 0; k < 9; ++k) {
          const std::int64_t pixel = k / 3 * size.width + i / width * stride + k % 3;
          sum += static_cast<double>(problem.taps[static_cast<std::size_t>(k * size.channels + c)]) *
                 static_cast<double>(problem.x[static_cast<std::size_t>(pixel * size.channels + c)]);
        }
        expected.push_back(activated(Activation::silu, sum));
      }
      for (const Isa isa : supported_isas()) {
        std::vector<float> y(expected.size());
        depthwise_row(problem.weights(Activation::silu), channels, x.data(), size.width, count, y.data(),
                      isa);
        for (std::size_t i = 0; i < y.size(); ++i) {
          ASSERT_NEAR(static_cast<double>(y[i]), expected[i], 1e-5) << name_of(isa) << ", " << i;
        }
      }
    }
  }
}

TEST(DepthwisePixels, BeyondTheBordersThereIsNothingToRead) {
  // A value in the rows that follow in memory must not leak in, not even as 0 times infinity.
  const Problem problem({2, 3, 5}, 1);
  std::vector<float> guarded(problem.x.size() * 3, std::numeric_limits<float>::infinity());
  std::copy(problem.x.begin(), problem.x.end(), guarded.begin() + std::ssize(problem.x));
  for (const Isa isa : supported_isas()) {
    std::vector<float> y(problem.x.size());
    depthwise_pixels(problem.weights(Activation::none), guarded.data() + problem.x.size(), 2, 3, {0, 6},
                     y.data(), isa);
    expect_close("y", y, problem.reference(Activation::none));
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::test
