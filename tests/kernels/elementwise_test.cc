#include "kernels/elementwise.h"

#include <cmath>
#include <limits>

#include "kernel_test.h"

namespace spatialmamba::kernels::test {
namespace {

using Limits = std::numeric_limits<double>;

// The whole range of T: every exponent with several mantissas, both signs, denormals, and what is no number.
template <typename T>
std::vector<T> whole_range() {
  using L = std::numeric_limits<T>;
  std::vector<T> values = {T{0},           -T{0},           L::infinity(), -L::infinity(),
                           L::quiet_NaN(), L::denorm_min(), L::max(),      L::lowest()};
  Random random(1);
  for (int exponent = L::min_exponent - L::digits; exponent <= L::max_exponent; ++exponent) {
    for (int i = 0; i < 8; ++i) {
      const T x = std::ldexp(static_cast<T>(random.uniform(0.5, 1.0)), exponent);
      values.push_back(x);
      values.push_back(-x);
    }
  }
  for (int i = 0; i < 20000; ++i) values.push_back(static_cast<T>(random.uniform(-110.0, 110.0)));
  for (int i = 0; i < 20000; ++i) values.push_back(static_cast<T>(random.uniform(-800.0, 800.0)));
  return values;
}

// |a - b| in units of the last place of b, the exact value; denormal results count in the smallest unit.
template <typename T>
double ulps(T a, long double b) {
  using L = std::numeric_limits<T>;
  const T rounded = static_cast<T>(b);
  if (std::isnan(rounded)) return std::isnan(a) ? 0.0 : Limits::infinity();
  if (a == rounded) return 0.0;
  if (std::isinf(rounded) || !std::isfinite(a)) return Limits::infinity();
  const int exponent = std::max(std::ilogb(rounded == T{0} ? L::denorm_min() : rounded), L::min_exponent - 1);
  return static_cast<double>(std::abs(static_cast<long double>(a) - b) /
                             std::ldexp(1.0L, exponent - L::digits + 1));
}

template <typename T, typename Function, typename Exact>
void expect_ulps(const char* what, const std::vector<T>& values, double bound, const Function& function,
                 const Exact& exact) {
  for (const Isa isa : supported_isas()) {
    std::vector<T> y(values.size());
    function(static_cast<std::int64_t>(values.size()), values.data(), y.data(), isa, ParallelFor());
    double worst = 0.0;
    T at = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      const double error = ulps(y[i], exact(static_cast<long double>(values[i])));
      if (!(error <= worst)) {
        worst = error;
        at = values[i];
      }
    }
    EXPECT_LE(worst, bound) << what << " at " << at << " for " << name_of(isa);
  }
}

template <typename T>
class Elementwise : public testing::Test {};
TYPED_TEST_SUITE(Elementwise, Precisions);

TYPED_TEST(Elementwise, FunctionsKeepTheirBoundsOverTheWholeRange) {
  using T = TypeParam;
  const std::vector<T> values = whole_range<T>();
  expect_ulps("exp", values, 2.0, exp<T>, [](long double x) { return std::exp(x); });
  expect_ulps("erf", values, 2.5, erf<T>, [](long double x) { return std::erf(x); });
  expect_ulps("softplus", values, 3.0, softplus<T>, [](long double x) {
    if (sizeof(T) == 8 && x > 20.0L) return x;
    return std::max(x, 0.0L) + std::log1p(std::exp(-std::abs(x)));
  });
}

long double exact_gelu_slope(long double x) {
  return 0.5L * std::erfc(-x * std::sqrt(0.5L)) +
         x * std::exp(-0.5L * x * x) / std::sqrt(2.0L * std::numbers::pi_v<long double>);
}

// Absolute error, relative to what a unit change of x makes.
template <typename T, typename Exact>
void expect_near(const char* what, const std::vector<T>& x, const std::vector<T>& y, const Exact& exact) {
  double worst = 0.0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const auto expected = static_cast<double>(exact(static_cast<long double>(x[i])));
    worst =
        std::max(worst, std::abs(static_cast<double>(y[i]) - expected) / std::max(1.0, std::abs(expected)));
  }
  EXPECT_LE(worst, 4.0 * static_cast<double>(std::numeric_limits<T>::epsilon())) << what;
}

TYPED_TEST(Elementwise, ActivationsAndTheirSlopes) {
  using T = TypeParam;
  const std::vector<T> x = random_values<T>(20011, 2, -30.0, 30.0);
  const auto n = static_cast<std::int64_t>(x.size());
  const std::vector<T> ones(x.size(), T{1});
  for_every_target([&](Isa isa, const ParallelFor& parallel) {
    std::vector<T> y(x.size());
    gelu(n, x.data(), y.data(), isa, parallel);
    expect_near("gelu", x, y, [](long double v) { return 0.5L * v * std::erfc(-v * std::sqrt(0.5L)); });
    gelu_backward(n, x.data(), ones.data(), y.data(), isa, parallel);
    expect_near("gelu'", x, y, exact_gelu_slope);
    silu(n, x.data(), y.data(), isa, parallel);
    expect_near("silu", x, y, [](long double v) { return v / (1.0L + std::exp(-v)); });
    silu_backward(n, x.data(), ones.data(), y.data(), isa, parallel);
    expect_near("silu'", x, y, [](long double v) {
      const long double s = 1.0L / (1.0L + std::exp(-v));
      return s * (1.0L + v * (1.0L - s));
    });
  });
}

TYPED_TEST(Elementwise, BiasGeluSumsTheGradientOfTheBias) {
  using T = TypeParam;
  constexpr std::int64_t kRows = 131;
  constexpr std::int64_t kChannels = 37;
  const auto x = random_values<T>(kRows * kChannels, 1, -3.0, 3.0);
  const auto bias = random_values<T>(kChannels, 2);
  const auto dy = random_values<T>(kRows * kChannels, 3);
  std::vector<double> y(x.size()), dx(x.size()), dbias(kChannels);
  for (std::size_t i = 0; i < x.size(); ++i) {
    const std::size_t c = i % kChannels;
    const double v = static_cast<double>(x[i]) + static_cast<double>(bias[c]);
    y[i] = 0.5 * v * std::erfc(-v * std::sqrt(0.5));
    dx[i] = static_cast<double>(dy[i]) * static_cast<double>(exact_gelu_slope(v));
    dbias[c] += dx[i];
  }
  for_every_target([&](Isa isa, const ParallelFor& parallel) {
    std::vector<T> out(x.size()), gradient(dy), bias_gradient(kChannels, T{9});
    bias_gelu(kRows, kChannels, x.data(), bias.data(), out.data(), isa, parallel);
    expect_close("y", out, y);
    bias_gelu_backward(kRows, kChannels, x.data(), bias.data(), gradient.data(), gradient.data(),
                       bias_gradient.data(), isa, parallel);
    expect_close("dx", gradient, dx);
    expect_close("dbias", bias_gradient, dbias);
  });
}

}  // namespace
}  // namespace spatialmamba::kernels::test
