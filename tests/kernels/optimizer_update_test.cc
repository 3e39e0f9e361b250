#include "kernels/optimizer_update.h"

#include <cmath>

#include "kernel_test.h"

namespace spatialmamba::kernels::test {
namespace {

const std::vector<std::int64_t> kSizes = {1, 7, 0, 16384, 40003};

template <typename T>
std::vector<std::vector<T>> random_tensors(std::uint64_t seed, double low, double high) {
  std::vector<std::vector<T>> tensors;
  for (const std::int64_t n : kSizes) tensors.push_back(random_values<T>(n, seed++, low, high));
  return tensors;
}

template <typename T>
class OptimizerUpdate : public testing::Test {};
TYPED_TEST_SUITE(OptimizerUpdate, Precisions);

TYPED_TEST(OptimizerUpdate, AdamWFollowsTheEquations) {
  using T = TypeParam;
  const auto start = random_tensors<T>(1, -1.0, 1.0);
  for_every_target([&](Isa isa, const ParallelFor& parallel) {
    auto p = start;
    auto m = random_tensors<T>(50, 0.0, 0.0);
    auto v = m;
    std::vector<std::vector<double>> p_expected, m_expected, v_expected;
    for (std::size_t i = 0; i < p.size(); ++i) {
      p_expected.push_back(widened(p[i]));
      m_expected.push_back(widened(m[i]));
      v_expected.push_back(widened(v[i]));
    }
    for (std::int64_t step = 1; step <= 3; ++step) {
      const AdamW s{
          .learning_rate = 1e-2, .epsilon = 1e-6, .weight_decay = 0.05, .step = step, .grad_scale = 0.5};
      const auto g = random_tensors<T>(10 * static_cast<std::uint64_t>(step), -1.0, 1.0);
      std::vector<AdamWTensor<T>> tensors;
      for (std::size_t i = 0; i < p.size(); ++i) {
        tensors.push_back({kSizes[i], p[i].data(), g[i].data(), m[i].data(), v[i].data()});
        for (std::size_t k = 0; k < p[i].size(); ++k) {
          const double gradient = s.grad_scale * static_cast<double>(g[i][k]);
          double& mean = m_expected[i][k];
          double& variance = v_expected[i][k];
          mean = s.beta1 * mean + (1.0 - s.beta1) * gradient;
          variance = s.beta2 * variance + (1.0 - s.beta2) * gradient * gradient;
          const double corrected = mean / (1.0 - std::pow(s.beta1, step));
          const double root = std::sqrt(variance / (1.0 - std::pow(s.beta2, step)));
          p_expected[i][k] *= 1.0 - s.learning_rate * s.weight_decay;
          p_expected[i][k] -= s.learning_rate * corrected / (root + s.epsilon);
        }
      }
      adamw_update<T>(s, tensors, isa, parallel);
    }
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (p[i].empty()) continue;
      expect_close("parameter", p[i], p_expected[i]);
      expect_close("mean", m[i], m_expected[i]);
      expect_close("variance", v[i], v_expected[i]);
    }
  });
}

TYPED_TEST(OptimizerUpdate, AveragesAndNorms) {
  using T = TypeParam;
  const auto values = random_tensors<T>(1, -1.0, 1.0);
  const auto start = random_tensors<T>(20, -1.0, 1.0);
  constexpr double kDecay = 0.999;
  double squares = 0.0;
  std::vector<NormTensor<T>> norms;
  for (const auto& tensor : values) {
    norms.push_back({static_cast<std::int64_t>(tensor.size()), tensor.data()});
    for (const T x : tensor) squares += static_cast<double>(x) * static_cast<double>(x);
  }
  for_every_target([&](Isa isa, const ParallelFor& parallel) {
    auto averages = start;
    std::vector<EmaTensor<T>> tensors;
    for (std::size_t i = 0; i < values.size(); ++i) {
      tensors.push_back({kSizes[i], averages[i].data(), values[i].data()});
    }
    ema_update<T>(kDecay, tensors, isa, parallel);
    for (std::size_t i = 0; i < values.size(); ++i) {
      std::vector<double> expected;
      for (std::size_t k = 0; k < values[i].size(); ++k) {
        expected.push_back(kDecay * static_cast<double>(start[i][k]) +
                           (1.0 - kDecay) * static_cast<double>(values[i][k]));
      }
      if (!expected.empty()) expect_close("average", averages[i], expected);
    }
    const double norm = squared_norm<T>(norms, isa, parallel);
    EXPECT_NEAR(norm, squares, 1e-12 * squares);
    EXPECT_EQ(norm, squared_norm<T>(norms, isa, ParallelFor())) << "depends on the threads";
  });
}

}  // namespace
}  // namespace spatialmamba::kernels::test
