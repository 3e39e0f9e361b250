#include "kernels/scan_fusion.h"

#include <algorithm>
#include <numbers>

#include "kernel_test.h"
#include "kernels/sasf.h"

namespace spatialmamba::kernels::test {
namespace {

struct Case {
  std::int64_t images, height, width, channels, rank;
};

/// Tall images of few channels are cut into bands when there are many threads.
std::vector<Case> cases() {
  std::vector<Case> list = {{1, 1, 1, 1, 1},    {2, 1, 1, 17, 2},   {1, 1, 30, 5, 3},  {1, 31, 1, 16, 1},
                            {3, 5, 7, 33, 32},  {1, 20, 9, 1, 4},   {2, 41, 8, 19, 5}, {1, 65, 3, 64, 7},
                            {1, 21, 16, 31, 2}, {1, 119, 5, 3, 12}, {2, 10, 17, 48, 6}};
  Random random(8);
  for (int i = 0; i < 8; ++i) {
    list.push_back({1 + random.below(2), 1 + random.below(90), 1 + random.below(20), 1 + random.below(70),
                    1 + random.below(32)});
  }
  return list;
}

struct Problem {
  Case size;
  std::vector<float> projected, x, dt_weights, dt_bias, a, skip, taps;

  explicit Problem(const Case& s)
      : size(s),
        projected(random_values<float>(tokens() * (s.rank + 2), 1)),
        x(random_values<float>(tokens() * s.channels, 2)),
        dt_weights(random_values<float>(s.rank * s.channels, 3)),
        dt_bias(random_values<float>(s.channels, 4, -5.0, -1.0)),
        a(random_values<float>(s.channels, 5, -2.0, -0.01)),
        skip(random_values<float>(s.channels, 6)),
        taps(random_values<float>(kSasfTaps * s.channels, 7)) {}

  std::int64_t tokens() const { return size.images * size.height * size.width; }

  ScanFusionInput input() const { return {size.images, size.height, size.width, projected.data(), x.data()}; }

  ScanFusionWeights weights() const {
    const auto table = [&](const std::vector<float>& values) {
      return [&](std::int64_t k, std::int64_t c) {
        return values[static_cast<std::size_t>(k * size.channels + c)];
      };
    };
    ScanFusionWeights w;
    w.channels = size.channels;
    w.rank = size.rank;
    w.dt_weights = {size.rank, size.channels, table(dt_weights)};
    w.taps = {kSasfTaps, size.channels, table(taps)};
    w.dt_bias.assign(dt_bias.begin(), dt_bias.end());
    w.skip.assign(skip.begin(), skip.end());
    for (const float rate : a) w.rate.push_back(rate * std::numbers::log2e_v<float>);
    return w;
  }

  /// The recurrence token by token, as the paper writes it.
  std::vector<double> states() const {
    std::vector<double> h(x.size());
    const std::int64_t channels = size.channels;
    for (std::int64_t t = 0; t < tokens(); ++t) {
      const float* row = projected.data() + t * (size.rank + 2);
      for (std::int64_t c = 0; c < channels; ++c) {
        const auto at = static_cast<std::size_t>(t * channels + c);
        const auto channel = static_cast<std::size_t>(c);
        double step = static_cast<double>(dt_bias[channel]);
        for (std::int64_t r = 0; r < size.rank; ++r) {
          step += static_cast<double>(row[r]) *
                  static_cast<double>(dt_weights[static_cast<std::size_t>(r * channels + c)]);
        }
        step = std::log1p(std::exp(step));
        const bool first = t % (size.height * size.width) == 0;
        const double previous = first ? 0.0 : h[at - static_cast<std::size_t>(channels)];
        h[at] = std::exp(step * static_cast<double>(a[channel])) * previous +
                step * static_cast<double>(row[size.rank]) * static_cast<double>(x[at]);
      }
    }
    return h;
  }

  std::vector<double> reference() const {
    const std::vector<double> h = states();
    std::vector<double> y(x.size());
    const std::int64_t channels = size.channels;
    for (std::int64_t i = 0; i < std::ssize(y); ++i) {
      const std::int64_t c = i % channels;
      const std::int64_t token = i / channels;
      const std::int64_t column = token % size.width;
      const std::int64_t row = token / size.width % size.height;
      double sum = 0.0;
      for (std::int64_t k = 0; k < kSasfTaps; ++k) {
        const auto [dy, dx] = sasf_offsets()[static_cast<std::size_t>(k)];
        const std::int64_t from = token - row * size.width - column +
                                  std::clamp<std::int64_t>(row + dy, 0, size.height - 1) * size.width +
                                  std::clamp<std::int64_t>(column + dx, 0, size.width - 1);
        sum += static_cast<double>(taps[static_cast<std::size_t>(k * channels + c)]) *
               h[static_cast<std::size_t>(from * channels + c)];
      }
      const auto at = static_cast<std::size_t>(i);
      const float output = projected[static_cast<std::size_t>(token * (size.rank + 2) + size.rank + 1)];
      y[at] = static_cast<double>(output) * sum +
              static_cast<double>(skip[static_cast<std::size_t>(c)]) * static_cast<double>(x[at]);
    }
    return y;
  }
};

// A decay is exact to 2.5e-7, and a state remembers the decays of some hundred tokens.
constexpr double kDecayTolerance = 2e-5;

TEST(ScanFusion, EqualsScanThenFusionForAnyNumberOfThreads) {
  for (const Case& size : cases()) {
    const Problem problem(size);
    const std::vector<double> expected = problem.reference();
    const ScanFusionWeights weights = problem.weights();
    SCOPED_TRACE(testing::Message() << size.images << " x " << size.height << " x " << size.width << " x "
                                    << size.channels << ", rank " << size.rank);
    for (const int threads : {1, 2, 7, 64}) {
      ThreadPool pool(threads);
      for (const Isa isa : supported_isas()) {
        SCOPED_TRACE(testing::Message() << name_of(isa) << ", " << threads << " threads");
        GemmScratch scratch;
        std::vector<float> y(problem.x.size(), std::numeric_limits<float>::quiet_NaN());
        scan_fusion(weights, problem.input(), y.data(), scratch, isa, pool.parallel_for());
        expect_close("y", y, expected, kDecayTolerance);
        // Its own memory, used before, changes nothing.
        std::vector<float> again(y.size());
        scan_fusion(weights, problem.input(), again.data(), scratch, isa, pool.parallel_for());
        EXPECT_EQ(again, y);
      }
    }
  }
}

// Steps so large that a state is forgotten at once, and so small that it never is.
TEST(ScanFusion, ExtremeTimeSteps) {
  for (const double bias : {-60.0, 80.0}) {
    Problem problem({1, 47, 6, 9, 3});
    std::ranges::fill(problem.dt_bias, static_cast<float>(bias));
    const std::vector<double> expected = problem.reference();
    for (const Isa isa : supported_isas()) {
      for (const int threads : {1, 7}) {
        ThreadPool pool(threads);
        GemmScratch scratch;
        std::vector<float> y(problem.x.size());
        scan_fusion(problem.weights(), problem.input(), y.data(), scratch, isa, pool.parallel_for());
        expect_close(name_of(isa).data(), y, expected);
      }
    }
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::test
