// The functions of fast_math-inl.h, compiled here for every instruction set as kernels compile them, over the
// ranges that their comments claim.
#include <algorithm>

#include "kernel_test.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/fast_math_test.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/fast_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

template <typename Function>
HWY_INLINE void map(const std::vector<float>& x, std::vector<float>& y, const Function& function) {
  for_vectors<float>(0, std::ssize(x), [&](auto d, std::int64_t i) HWY_ATTR {
    const Group<decltype(d), 1> one{{hn::LoadU(d, x.data() + i)}};
    hn::StoreU(function(d, one).at[0], d, y.data() + i);
  });
}

void map_exp2(const std::vector<float>& x, std::vector<float>& y) {
  map(x, y, [](auto d, auto v) HWY_ATTR { return fast_exp2_negative(d, v); });
}
void map_reciprocal(const std::vector<float>& x, std::vector<float>& y) {
  map(x, y, [](auto d, auto v) HWY_ATTR { return fast_reciprocal(d, v); });
}
void map_silu(const std::vector<float>& x, std::vector<float>& y) {
  map(x, y, [](auto d, auto v) HWY_ATTR { return fast_silu(d, v); });
}
void map_softplus(const std::vector<float>& x, std::vector<float>& y) {
  map(x, y, [](auto d, auto v) HWY_ATTR { return fast_softplus(d, v); });
}
void map_gelu(const std::vector<float>& x, std::vector<float>& y) {
  map(x, y, [](auto d, auto v) HWY_ATTR { return fast_gelu(d, v); });
}
void map_coarse_gelu(const std::vector<float>& x, std::vector<float>& y) {
  map(x, y, [](auto d, auto v) HWY_ATTR { return coarse_gelu(d, v); });
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

using Map = void (*)(const std::vector<float>& x, std::vector<float>& y);

Map exp2_for(Isa isa) {
  return SPATIALMAMBA_CHOOSE(isa, map_exp2);
}
Map reciprocal_for(Isa isa) {
  return SPATIALMAMBA_CHOOSE(isa, map_reciprocal);
}
Map silu_for(Isa isa) {
  return SPATIALMAMBA_CHOOSE(isa, map_silu);
}
Map softplus_for(Isa isa) {
  return SPATIALMAMBA_CHOOSE(isa, map_softplus);
}
Map gelu_for(Isa isa) {
  return SPATIALMAMBA_CHOOSE(isa, map_gelu);
}
Map coarse_gelu_for(Isa isa) {
  return SPATIALMAMBA_CHOOSE(isa, map_coarse_gelu);
}

namespace test {

/// Evenly spread, and every power of two of either sign with random digits; those within [low, high].
std::vector<float> values_within(double low, double high) {
  std::vector<float> values = {static_cast<float>(low), static_cast<float>(high)};
  Random random(1);
  for (int i = 0; i < 60000; ++i) values.push_back(static_cast<float>(random.uniform(low, high)));
  for (int i = 0; i < 60000; ++i) {
    values.push_back(static_cast<float>(random.uniform(std::max(low, -20.0), std::min(high, 20.0))));
  }
  for (int exponent = -126; exponent <= 127; ++exponent) {
    for (int i = 0; i < 16; ++i) {
      const float x = std::ldexp(static_cast<float>(random.uniform(0.5, 1.0)), exponent);
      values.push_back(x);
      values.push_back(-x);
    }
  }
  if (low <= 0.0 && high >= 0.0) values.push_back(0.0F);
  std::erase_if(values,
                [&](float x) { return static_cast<double>(x) < low || static_cast<double>(x) > high; });
  return values;
}

struct Bound {
  double low;
  double high;
  double error;
};

/// Expects |y - exact(x)| <= error · scale(x, exact).
template <typename Exact, typename Scale>
void expect_bound(const char* what, Map (*function_for)(Isa), const Bound& bound, const Exact& exact,
                  const Scale& scale) {
  const std::vector<float> x = values_within(bound.low, bound.high);
  for (const Isa isa : supported_isas()) {
    std::vector<float> y(x.size());
    function_for(isa)(x, y);
    double worst = 0.0;
    float at = 0.0F;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const long double expected = exact(static_cast<long double>(x[i]));
      const auto error = static_cast<double>(std::abs(static_cast<long double>(y[i]) - expected) /
                                             scale(static_cast<long double>(x[i]), expected));
      if (!(error <= worst)) {
        worst = error;
        at = x[i];
      }
    }
    EXPECT_LE(worst, bound.error) << what << " at " << at << " for " << name_of(isa);
  }
}

long double relative(long double, long double expected) {
  return std::abs(expected);
}
long double to_argument(long double x, long double) {
  return std::max(1.0L, std::abs(x));
}

constexpr double kGreatest = 3.4e38;

TEST(FastMath, Exp2OfNegatives) {
  expect_bound(
      "exp2", exp2_for, {-126.0, 0.0, 2.5e-7}, [](long double x) { return std::exp2(x); }, relative);
  // What is smaller is next to nothing.
  expect_bound(
      "exp2", exp2_for, {-kGreatest, -126.0, 0x1.00001p-126}, [](long double) { return 0.0L; },
      [](long double, long double) { return 1.0L; });
}

TEST(FastMath, ReciprocalOfNormals) {
  expect_bound(
      "1/x", reciprocal_for, {0x1p-126, 0x1p125, 3e-7}, [](long double x) { return 1.0L / x; }, relative);
  expect_bound(
      "1/x", reciprocal_for, {-0x1p125, -0x1p-126, 3e-7}, [](long double x) { return 1.0L / x; }, relative);
}

TEST(FastMath, Silu) {
  expect_bound(
      "silu", silu_for, {-kGreatest, kGreatest, 4e-7},
      [](long double x) { return x / (1.0L + std::exp(-x)); }, to_argument);
}

TEST(FastMath, Softplus) {
  // Below -87 the result itself is denormal.
  expect_bound(
      "softplus", softplus_for, {-87.0, kGreatest, 5e-7},
      [](long double x) { return std::max(x, 0.0L) + std::log1p(std::exp(-std::abs(x))); },
      [](long double x, long double expected) {
        return expected * (1.0L + std::max(0.0L, -x) * 6e-8L / 5e-7L);
      });
}

TEST(FastMath, Gelu) {
  const auto exact = [](long double x) { return 0.5L * x * std::erfc(-x * std::sqrt(0.5L)); };
  expect_bound("gelu", gelu_for, {-kGreatest, kGreatest, 2e-6}, exact, to_argument);
  expect_bound("coarse gelu", coarse_gelu_for, {-kGreatest, kGreatest, 1.1e-4}, exact, to_argument);
}

}  // namespace test
}  // namespace
}  // namespace spatialmamba::kernels
#endif
