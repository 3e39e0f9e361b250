#include "support/weightgen.h"

#include <cmath>

namespace spatialmamba::test {
namespace {

constexpr std::uint64_t kGolden = 0x9E3779B97F4A7C15ULL;

std::uint64_t splitmix_finish(std::uint64_t z) {
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

struct Range {
  double offset;
  double scale;
};

/// `factor * sqrt(3 / fan)` rounded to float32, as the generator defines its scales.
double fan_scale(double factor, const Shape& shape) {
  double fan = 1.0;
  for (std::size_t i = 1; i < shape.size(); ++i) fan *= static_cast<double>(shape[i]);
  return static_cast<double>(static_cast<float>(factor * std::sqrt(3.0 / fan)));
}

Range range_of(const std::string& name, const Shape& shape) {
  const std::string last = name.substr(name.rfind('.') + 1);
  const auto contains = [&](const char* part) { return name.find(part) != std::string::npos; };
  if (last == "running_mean") return {0.0, 0.125};
  if (last == "running_var") return {1.0, 0.5};
  if (last == "A_logs") return {0.0, 0.5};
  if (last == "Ds") return {1.0, 0.25};
  if (last == "dt_projs_bias") return {-3.0, 1.5};
  if (last == "alpha") return {1.0, 0.5};
  if (last == "kernel_3" || last == "kernel_3_1" || last == "kernel_3_2") return {0.125, 0.125};
  if (shape.size() == 1) return last == "weight" ? Range{1.0, 0.25} : Range{0.0, 0.125};
  if (contains(".cpe1.") || contains(".cpe2.")) return {0.0, fan_scale(0.25, shape)};
  if (contains("patch_embed") || contains("downsample")) return {0.0, fan_scale(1.375, shape)};
  return {0.0, fan_scale(1.0, shape)};
}

}  // namespace

std::uint64_t fnv1a64(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return hash;
}

std::vector<float> generate(std::string_view name, std::uint64_t seed, std::int64_t n, double offset,
                            double scale) {
  const std::uint64_t base = fnv1a64(name) + seed * kGolden;
  std::vector<float> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::uint64_t z = splitmix_finish(base + (i + 1) * kGolden);
    const double v = static_cast<double>(z >> 40) * 0x1.0p-23 - 1.0;
    values[i] = static_cast<float>(offset + scale * v);
  }
  return values;
}

Tensor generate_weight(const std::string& name, const Shape& shape, std::uint64_t seed) {
  if (name.ends_with("num_batches_tracked")) return {DType::i64, shape};
  const auto [offset, scale] = range_of(name, shape);
  return Tensor::from(shape, generate(name, seed, element_count(shape), offset, scale));
}

std::vector<float> generate_input(std::string_view name, std::uint64_t seed, std::int64_t n) {
  return generate(name, seed, n, 0.0, 2.0);
}

}  // namespace spatialmamba::test
