#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "base/parallel.h"
#include "base/random.h"
#include "kernels/isa.h"
#include "support/golden.h"

namespace spatialmamba::kernels::test {

/// Every kernel is checked in both precisions against references that compute in double.
using Precisions = testing::Types<float, double>;

template <typename T>
inline constexpr double kTolerance = std::is_same_v<T, float> ? 5e-6 : 1e-12;

/// n values in [low, high), the same for every run.
template <typename T>
std::vector<T> random_values(std::int64_t n, std::uint64_t seed, double low = -1.0, double high = 1.0) {
  Random random(seed);
  std::vector<T> values(static_cast<std::size_t>(n));
  for (T& value : values) value = static_cast<T>(random.uniform(low, high));
  return values;
}

/// Calls body(isa, parallel) for every instruction set of this machine, with 1, 2 and 3 threads.
template <typename Body>
void for_every_target(const Body& body) {
  for (const Isa isa : supported_isas()) {
    for (const int threads : {1, 2, 3}) {
      ThreadPool pool(threads);
      SCOPED_TRACE(std::string(name_of(isa)) + ", " + std::to_string(threads) + " threads");
      body(isa, pool.parallel_for());
    }
  }
}

template <typename T>
std::vector<double> widened(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

template <typename T>
void expect_close(const char* what, const std::vector<T>& actual, const std::vector<double>& expected,
                  double tolerance = kTolerance<T>) {
  EXPECT_LE(spatialmamba::test::relative_deviation(widened(actual), expected), tolerance) << what;
}

/// Rows of `width` values at the start of every `stride`.
template <typename T>
std::vector<T> dense_rows(const std::vector<T>& values, std::int64_t width, std::int64_t stride) {
  std::vector<T> dense;
  for (std::size_t row = 0; row + static_cast<std::size_t>(width) <= values.size();
       row += static_cast<std::size_t>(stride)) {
    const auto begin = values.begin() + static_cast<std::ptrdiff_t>(row);
    dense.insert(dense.end(), begin, begin + static_cast<std::ptrdiff_t>(width));
  }
  return dense;
}

/// Central differences of loss() in every element of `values` against `gradient`.
template <typename Loss>
void expect_finite_differences(const char* what, std::vector<double>& values,
                               const std::vector<double>& gradient, const Loss& loss) {
  constexpr double kStep = 1e-6;
  std::vector<double> differences;
  for (double& value : values) {
    const double centre = value;
    value = centre + kStep;
    const double above = loss();
    value = centre - kStep;
    const double below = loss();
    value = centre;
    differences.push_back((above - below) / (2.0 * kStep));
  }
  EXPECT_LE(spatialmamba::test::relative_deviation(differences, gradient), 1e-7) << what;
}

inline double logistic(double x) {
  return 1.0 / (1.0 + std::exp(-x));
}

}  // namespace spatialmamba::kernels::test
