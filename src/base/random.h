#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <span>
#include <utility>

namespace spatialmamba {

/// xoshiro256** with its state in the open: small, fast, and the same on every machine and compiler, unlike
/// the distributions of <random>. The state is what a checkpoint stores.
class Random {
 public:
  using State = std::array<std::uint64_t, 4>;

  /// Seeds by splitmix64, so that neighbouring seeds give unrelated streams.
  explicit Random(std::uint64_t seed) {
    for (std::uint64_t& word : state_) word = splitmix(seed);
  }
  /// An independent stream for each pair, e.g. (seed, sample index): sample k is the same whoever draws it.
  Random(std::uint64_t seed, std::uint64_t stream) : Random(seed ^ mix(stream + 0x9E3779B97F4A7C15ULL)) {}
  explicit Random(const State& state) : state_(state) {}

  const State& state() const { return state_; }

  std::uint64_t bits() {
    const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t t = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= t;
    state_[3] = rotate(state_[3], 45);
    return result;
  }

  /// In [0, 1), 53 random bits.
  double uniform() { return static_cast<double>(bits() >> 11) * 0x1.0p-53; }
  double uniform(double low, double high) { return low + (high - low) * uniform(); }

  /// In [0, n), without bias; n must be positive.
  std::int64_t below(std::int64_t n) {
    const auto range = static_cast<std::uint64_t>(n);
    const std::uint64_t limit = (0 - range) % range;  // 2^64 mod n
    std::uint64_t x = bits();
    while (x < limit) x = bits();
    return static_cast<std::int64_t>(x % range);
  }

  bool chance(double probability) { return uniform() < probability; }

  /// Two independent standard normals (Box-Muller).
  std::array<double, 2> normal_pair() {
    const double radius = std::sqrt(-2.0 * std::log(1.0 - uniform()));
    const double angle = 2.0 * std::numbers::pi * uniform();
    return {radius * std::cos(angle), radius * std::sin(angle)};
  }

  /// Standard normal; the second value of the pair is dropped so that the state is all there is.
  double normal() { return normal_pair()[0]; }

  /// Gamma(shape, 1) by Marsaglia and Tsang (2000), shape > 0.
  double gamma(double shape) {
    if (shape < 1.0) {
      const double boost = std::pow(1.0 - uniform(), 1.0 / shape);
      return gamma(shape + 1.0) * boost;
    }
    const double d = shape - 1.0 / 3.0;
    const double c = 1.0 / std::sqrt(9.0 * d);
    while (true) {
      const double x = normal();
      const double base = 1.0 + c * x;
      if (base <= 0.0) continue;
      const double v = base * base * base;
      if (std::log(1.0 - uniform()) < 0.5 * x * x + d - d * v + d * std::log(v)) return d * v;
    }
  }

  double beta(double a, double b) {
    const double x = gamma(a);
    const double sum = x + gamma(b);
    // For tiny a and b both underflow: there the distribution is that of a coin.
    if (sum == 0.0) return chance(a / (a + b)) ? 1.0 : 0.0;
    return x / sum;
  }

  template <typename T>
  void shuffle(std::span<T> values) {
    for (std::size_t i = values.size(); i > 1; --i) {
      std::swap(values[i - 1], values[static_cast<std::size_t>(below(static_cast<std::int64_t>(i)))]);
    }
  }

  /// splitmix64's finaliser: a hash of 64 bits to 64 bits.
  static constexpr std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
    return z ^ (z >> 31);
  }

 private:
  static constexpr std::uint64_t rotate(std::uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }
  static constexpr std::uint64_t splitmix(std::uint64_t& seed) { return mix(seed += 0x9E3779B97F4A7C15ULL); }

  State state_{};
};

}  // namespace spatialmamba
