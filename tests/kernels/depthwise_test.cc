#include "kernels/depthwise.h"

#include <cmath>

#include "kernel_test.h"

namespace spatialmamba::kernels::test {
namespace {

struct Case {
  std::int64_t images, height, width, channels, stride;
  Activation activation;
  bool residual;
};

const Case kCases[] = {
    {1, 1, 1, 1, 1, Activation::none, false},  {2, 1, 7, 5, 1, Activation::silu, false},
    {1, 3, 4, 16, 1, Activation::none, true},  {2, 13, 17, 19, 1, Activation::silu, false},
    {1, 30, 9, 33, 1, Activation::none, true}, {2, 13, 17, 8, 2, Activation::relu, false},
    {1, 1, 2, 3, 2, Activation::relu, false},  {3, 14, 16, 17, 2, Activation::silu, false},
    {1, 40, 6, 1, 1, Activation::relu, false},
};

struct Expected {
  std::vector<double> y, dx, dweights, dbias;
};

double activate(Activation activation, double x) {
  if (activation == Activation::silu) return x * logistic(x);
  return activation == Activation::relu ? std::max(x, 0.0) : x;
}

double slope(Activation activation, double x) {
  if (activation == Activation::silu) return logistic(x) * (1.0 + x * (1.0 - logistic(x)));
  return activation == Activation::relu && x <= 0.0 ? 0.0 : 1.0;
}

template <typename T>
Expected reference(const DepthwiseInput<T>& in, const T* dy) {
  const std::int64_t out_height = in.out_height();
  const std::int64_t out_width = in.out_width();
  const std::int64_t channels = in.channels;
  Expected out{std::vector<double>(static_cast<std::size_t>(in.images * out_height * out_width * channels)),
               std::vector<double>(static_cast<std::size_t>(in.images * in.height * in.width * channels)),
               std::vector<double>(static_cast<std::size_t>(9 * channels)),
               std::vector<double>(static_cast<std::size_t>(channels))};
  for (std::int64_t i = 0; i < in.images * out_height * out_width * channels; ++i) {
    const std::int64_t c = i % channels;
    const std::int64_t ox = i / channels % out_width;
    const std::int64_t oy = i / channels / out_width % out_height;
    const std::int64_t image = i / channels / out_width / out_height;
    const auto visit = [&](auto&& body) {
      for (std::int64_t k = 0; k < 9; ++k) {
        const std::int64_t y = oy * in.stride + k / 3 - 1;
        const std::int64_t x = ox * in.stride + k % 3 - 1;
        if (y < 0 || y >= in.height || x < 0 || x >= in.width) continue;
        body(k * channels + c, (image * in.height + y) * in.width + x);
      }
    };
    double pre = in.bias == nullptr ? 0.0 : static_cast<double>(in.bias[c]);
    visit([&](std::int64_t w, std::int64_t token) {
      pre += static_cast<double>(in.weights[w]) * static_cast<double>(in.x[token * in.x_stride + c]);
    });
    const auto at = static_cast<std::size_t>(i);
    out.y[at] = activate(in.activation, pre);
    const double g = static_cast<double>(dy[i]) * slope(in.activation, pre);
    out.dbias[static_cast<std::size_t>(c)] += g;
    visit([&](std::int64_t w, std::int64_t token) {
      out.dweights[static_cast<std::size_t>(w)] += g * static_cast<double>(in.x[token * in.x_stride + c]);
      out.dx[static_cast<std::size_t>(token * channels + c)] += g * static_cast<double>(in.weights[w]);
    });
    if (in.residual) {
      out.y[at] += static_cast<double>(in.x[i / channels * in.x_stride + c]);
      out.dx[at] += static_cast<double>(dy[i]);
    }
  }
  return out;
}

template <typename T>
class Depthwise : public testing::Test {};
TYPED_TEST_SUITE(Depthwise, Precisions);

TYPED_TEST(Depthwise, MatchesReferenceForwardAndBackward) {
  using T = TypeParam;
  for (const Case& shape : kCases) {
    SCOPED_TRACE(testing::Message() << shape.images << "x" << shape.height << "x" << shape.width << "x"
                                    << shape.channels << " stride " << shape.stride);
    const std::int64_t tokens = shape.images * shape.height * shape.width;
    const std::int64_t x_stride = 2 * shape.channels;
    const auto x = random_values<T>(tokens * x_stride, 1);
    const auto weights = random_values<T>(9 * shape.channels, 2);
    const auto bias = random_values<T>(shape.channels, 3);
    const DepthwiseInput<T> input{.images = shape.images,
                                  .height = shape.height,
                                  .width = shape.width,
                                  .channels = shape.channels,
                                  .stride = shape.stride,
                                  .x = x.data(),
                                  .x_stride = x_stride,
                                  .weights = weights.data(),
                                  .bias = bias.data(),
                                  .activation = shape.activation,
                                  .residual = shape.residual};
    const auto dy =
        random_values<T>(shape.images * input.out_height() * input.out_width() * shape.channels, 4);
    const Expected expected = reference(input, dy.data());
    for_every_target([&](Isa isa, const ParallelFor& parallel) {
      std::vector<T> y(dy.size());
      depthwise_forward(input, y.data(), isa, parallel);
      expect_close("y", y, expected.y);
      const std::int64_t dx_stride = shape.channels + 3;
      std::vector<T> dx(static_cast<std::size_t>(tokens * dx_stride)), dweights(weights.size(), T{9}),
          dbias(bias.size(), T{9});
      depthwise_backward(input,
                         {.dy = dy.data(),
                          .dx = dx.data(),
                          .dx_stride = dx_stride,
                          .dweights = dweights.data(),
                          .dbias = dbias.data()},
                         isa, parallel);
      expect_close("dx", dense_rows(dx, shape.channels, dx_stride), expected.dx);
      expect_close("dweights", dweights, expected.dweights);
      expect_close("dbias", dbias, expected.dbias);
    });
  }
}

TEST(DepthwiseWeights, GoToPyTorchAndBack) {
  const std::vector<float> torch_weights = random_values<float>(9 * 5, 1);
  std::vector<float> weights(torch_weights.size());
  std::vector<float> back(torch_weights.size());
  depthwise_weights_from_torch(5, torch_weights.data(), weights.data());
  EXPECT_EQ(weights[4 * 5 + 3], torch_weights[3 * 9 + 4]);
  depthwise_weights_to_torch(5, weights.data(), back.data());
  EXPECT_EQ(back, torch_weights);
}

TEST(DepthwiseWeights, StrideTwoCannotAddItsInput) {
  const DepthwiseInput<float> input{.stride = 2, .residual = true};
  EXPECT_ANY_THROW(depthwise_forward(input, static_cast<float*>(nullptr), Isa::scalar, ParallelFor()));
}

}  // namespace
}  // namespace spatialmamba::kernels::test
