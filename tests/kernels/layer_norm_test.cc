#include "kernels/layer_norm.h"

#include <cmath>

#include "kernel_test.h"

namespace spatialmamba::kernels::test {
namespace {

struct Case {
  std::int64_t rows;
  std::int64_t channels;
  bool gated;
};

const Case kCases[] = {{1, 1, false},   {3, 7, true},    {5, 16, true},
                       {70, 33, false}, {129, 64, true}, {2, 257, true}};

struct Expected {
  std::vector<double> y, dx, dgamma, dbeta, dz;
};

// Plain loops in double precision, straight from the equations of the header.
template <typename T>
Expected reference(const LayerNormInput<T>& in, const T* dy) {
  const std::int64_t channels = in.channels;
  const auto n = static_cast<std::size_t>(in.rows * channels);
  Expected out{std::vector<double>(n), std::vector<double>(n),
               std::vector<double>(static_cast<std::size_t>(channels)),
               std::vector<double>(static_cast<std::size_t>(channels)), std::vector<double>(in.z ? n : 0)};
  for (std::int64_t row = 0; row < in.rows; ++row) {
    double mean = 0.0;
    for (std::int64_t c = 0; c < channels; ++c) mean += static_cast<double>(in.x[row * channels + c]);
    mean /= static_cast<double>(channels);
    double variance = 0.0;
    for (std::int64_t c = 0; c < channels; ++c) {
      variance += std::pow(static_cast<double>(in.x[row * channels + c]) - mean, 2);
    }
    const double rstd = 1.0 / std::sqrt(variance / static_cast<double>(channels) + in.epsilon);
    double sum = 0.0;
    double sum_xhat = 0.0;
    for (const bool second : {false, true}) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const auto i = static_cast<std::size_t>(row * channels + c);
        const auto channel = static_cast<std::size_t>(c);
        const double xhat = (static_cast<double>(in.x[i]) - mean) * rstd;
        const double normalised = xhat * static_cast<double>(in.gamma[c]) + static_cast<double>(in.beta[c]);
        const double z = in.z == nullptr ? 0.0 : static_cast<double>(in.z[row * in.z_stride + c]);
        const double gate = in.z == nullptr ? 1.0 : z * logistic(z);
        const double g = static_cast<double>(dy[i]) * gate;
        const double scaled = g * static_cast<double>(in.gamma[c]);
        if (second) {
          out.dx[i] = rstd * (scaled - sum / static_cast<double>(channels) -
                              xhat * sum_xhat / static_cast<double>(channels));
          continue;
        }
        out.y[i] = normalised * gate;
        if (in.z != nullptr) {
          out.dz[i] = static_cast<double>(dy[i]) * normalised * logistic(z) * (1.0 + z * (1.0 - logistic(z)));
        }
        out.dgamma[channel] += g * xhat;
        out.dbeta[channel] += g;
        sum += scaled;
        sum_xhat += scaled * xhat;
      }
    }
  }
  return out;
}

template <typename T>
class LayerNorm : public testing::Test {};
TYPED_TEST_SUITE(LayerNorm, Precisions);

TYPED_TEST(LayerNorm, MatchesReferenceForwardAndBackward) {
  using T = TypeParam;
  for (const auto& [rows, channels, gated] : kCases) {
    SCOPED_TRACE(testing::Message() << rows << "x" << channels << (gated ? " gated" : ""));
    const std::int64_t stride = 2 * channels + 1;
    const auto x = random_values<T>(rows * channels, 1, -3.0, 5.0);
    const auto gamma = random_values<T>(channels, 2, 0.5, 1.5);
    const auto beta = random_values<T>(channels, 3);
    const auto z = random_values<T>(rows * stride, 4, -6.0, 6.0);
    const auto dy = random_values<T>(rows * channels, 5);
    LayerNormInput<T> input{
        .rows = rows, .channels = channels, .x = x.data(), .gamma = gamma.data(), .beta = beta.data()};
    if (gated) {
      input.z = z.data();
      input.z_stride = stride;
    }
    const Expected expected = reference(input, dy.data());
    for_every_target([&](Isa isa, const ParallelFor& parallel) {
      std::vector<T> y(x.size()), mean(static_cast<std::size_t>(rows)), rstd(static_cast<std::size_t>(rows));
      layer_norm_forward(input, y.data(), mean.data(), rstd.data(), isa, parallel);
      expect_close("y", y, expected.y);
      std::vector<T> dx(x.size()), dgamma(gamma.size(), T{9}), dbeta(beta.size(), T{9}), dz(z.size());
      layer_norm_backward(input,
                          {.mean = mean.data(),
                           .rstd = rstd.data(),
                           .dy = dy.data(),
                           .dx = dx.data(),
                           .dgamma = dgamma.data(),
                           .dbeta = dbeta.data(),
                           .dz = gated ? dz.data() : nullptr,
                           .dz_stride = stride},
                          isa, parallel);
      // One channel leaves nothing to normalise: the gradient is zero up to rounding.
      if (channels > 1) {
        expect_close("dx", dx, expected.dx);
        expect_close("dgamma", dgamma, expected.dgamma);
      }
      expect_close("dbeta", dbeta, expected.dbeta);
      if (gated) expect_close("dz", dense_rows(dz, channels, stride), expected.dz);
    });
  }
}

TYPED_TEST(LayerNorm, SumsDoNotDependOnThreads) {
  using T = TypeParam;
  constexpr std::int64_t kRows = 1000;
  constexpr std::int64_t kChannels = 24;
  const auto x = random_values<T>(kRows * kChannels, 1);
  const auto gamma = random_values<T>(kChannels, 2);
  const auto mean = random_values<T>(kRows, 3);
  const auto rstd = random_values<T>(kRows, 4, 0.5, 2.0);
  const LayerNormInput<T> input{
      .rows = kRows, .channels = kChannels, .x = x.data(), .gamma = gamma.data(), .beta = gamma.data()};
  std::vector<std::vector<T>> results;
  for (const int threads : {1, 2, 3}) {
    ThreadPool pool(threads);
    std::vector<T> dx(x.size()), dbeta(kChannels);
    std::vector<T>& dgamma = results.emplace_back(kChannels);
    layer_norm_backward(input,
                        {.mean = mean.data(),
                         .rstd = rstd.data(),
                         .dy = x.data(),
                         .dx = dx.data(),
                         .dgamma = dgamma.data(),
                         .dbeta = dbeta.data()},
                        default_isa(), pool.parallel_for());
  }
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

}  // namespace
}  // namespace spatialmamba::kernels::test
