#include "engine/parameters.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "spatialmamba/architecture.h"

namespace spatialmamba::engine {
namespace {

constexpr std::int64_t kKernelTaps = 9;

float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

float from_f16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1FU;
  const std::uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0) {  // zero and denormals: multiples of 2^-24
    const float magnitude = std::ldexp(static_cast<float>(mantissa), -24);
    return sign == 0 ? magnitude : -magnitude;
  }
  constexpr std::uint32_t kRebias = 127 - 15;
  const std::uint32_t wide = exponent == 0x1FU ? 0xFFU : exponent + kRebias;
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

/// Element by element, since a view of a file may lie at any address.
template <typename Stored, typename Convert>
std::vector<float> converted(const Tensor& tensor, const Convert& convert) {
  std::vector<float> values(static_cast<std::size_t>(tensor.numel()));
  for (std::size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, tensor.raw() + i * sizeof stored, sizeof stored);
    values[i] = convert(stored);
  }
  return values;
}

std::vector<float> floats_of(const Tensor& tensor, const std::string& what) {
  switch (tensor.dtype()) {
    case DType::f32:
      return tensor.values<float>();
    case DType::f64:
      return converted<double>(tensor, [](double v) { return static_cast<float>(v); });
    case DType::f16:
      return converted<std::uint16_t>(tensor, from_f16);
    case DType::bf16:
      return converted<std::uint16_t>(tensor, from_bf16);
    default:
      fail("{} is of type {}, expected a floating point type", what, name_of(tensor.dtype()));
  }
}

}  // namespace

std::vector<float> Parameters::operator[](const std::string& name) const {
  const Tensor& tensor = tensors_.at(name);
  std::vector<float> values = floats_of(tensor, fmt::format("{}: {}", source_, name));
  if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); })) {
    fail("{}: {} holds values that are not finite (NaN or infinite)", source_, name);
  }
  tensor.drop_pages();
  return values;
}

Affine read_affine(const Parameters& parameters, const std::string& name, const std::string& norm) {
  Affine affine{.weights = parameters[name + ".weight"], .bias = {}};
  const auto outputs = static_cast<std::size_t>(parameters.size(name + ".weight", 0));
  const std::size_t inputs = affine.weights.size() / outputs;
  const std::string bias = name + ".bias";
  affine.bias = parameters.contains(bias) ? parameters[bias] : std::vector<float>(outputs, 0.0F);
  if (norm.empty()) return affine;

  const std::vector<float> gamma = parameters[norm + ".weight"];
  const std::vector<float> beta = parameters[norm + ".bias"];
  const std::vector<float> mean = parameters[norm + ".running_mean"];
  const std::vector<float> variance = parameters[norm + ".running_var"];
  for (std::size_t o = 0; o < outputs; ++o) {
    const double scale =
        static_cast<double>(gamma[o]) / std::sqrt(static_cast<double>(variance[o]) + kNormEpsilon);
    for (std::size_t i = 0; i < inputs; ++i) {
      float& weight = affine.weights[o * inputs + i];
      weight = static_cast<float>(static_cast<double>(weight) * scale);
    }
    const double shifted = static_cast<double>(affine.bias[o]) - static_cast<double>(mean[o]);
    affine.bias[o] = static_cast<float>(shifted * scale + static_cast<double>(beta[o]));
  }
  return affine;
}

void fold_norm(Affine& affine, const std::vector<float>& gamma, const std::vector<float>& beta) {
  const std::size_t inputs = gamma.size();
  for (std::size_t o = 0; o < affine.bias.size(); ++o) {
    double shift = 0.0;
    for (std::size_t i = 0; i < inputs; ++i) {
      float& weight = affine.weights[o * inputs + i];
      shift += static_cast<double>(weight) * static_cast<double>(beta[i]);
      weight *= gamma[i];
    }
    affine.bias[o] += static_cast<float>(shift);
  }
}

Affine part_of(const Affine& affine, std::size_t begin, std::size_t end) {
  const std::size_t inputs = affine.weights.size() / affine.bias.size();
  const auto at = [](const std::vector<float>& values, std::size_t i) {
    return values.begin() + static_cast<std::ptrdiff_t>(i);
  };
  return {.weights = {at(affine.weights, begin * inputs), at(affine.weights, end * inputs)},
          .bias = {at(affine.bias, begin), at(affine.bias, end)}};
}

Affine padded(const Affine& affine, const ConvSizes& sizes) {
  Affine wider{.weights = std::vector<float>(
                   static_cast<std::size_t>(sizes.padded_outputs * sizes.padded_inputs * kKernelTaps)),
               .bias = affine.bias};
  wider.bias.resize(static_cast<std::size_t>(sizes.padded_outputs));
  const std::int64_t row = sizes.inputs * kKernelTaps;
  for (std::int64_t o = 0; o < sizes.outputs; ++o) {
    std::copy_n(affine.weights.begin() + o * row, row,
                wider.weights.begin() + o * sizes.padded_inputs * kKernelTaps);
  }
  return wider;
}

Affine channels_last(const Affine& affine) {
  Affine moved = affine;
  const auto outputs = std::ssize(affine.bias);
  const std::int64_t inputs = std::ssize(affine.weights) / outputs / kKernelTaps;
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t i = 0; i < inputs; ++i) {
      for (std::int64_t k = 0; k < kKernelTaps; ++k) {
        moved.weights[static_cast<std::size_t>((o * kKernelTaps + k) * inputs + i)] =
            affine.weights[static_cast<std::size_t>((o * inputs + i) * kKernelTaps + k)];
      }
    }
  }
  return moved;
}

Affine transformed_kernel(const Affine& affine, kernels::RowRange inputs, kernels::WinogradTile tile,
                          std::int64_t row, std::int64_t column) {
  const std::array<double, 9> factors = kernels::winograd_filter(tile, row, column);
  const auto outputs = std::ssize(affine.bias);
  const std::int64_t all = std::ssize(affine.weights) / outputs / kKernelTaps;
  Affine transformed{.weights = {}, .bias = std::vector<float>(static_cast<std::size_t>(outputs))};
  transformed.weights.reserve(static_cast<std::size_t>(outputs * (inputs.end - inputs.begin)));
  for (std::int64_t o = 0; o < outputs; ++o) {
    for (std::int64_t i = inputs.begin; i < inputs.end; ++i) {
      const float* taps = affine.weights.data() + (o * all + i) * kKernelTaps;
      double sum = 0.0;
      for (std::size_t k = 0; k < factors.size(); ++k) sum += factors[k] * static_cast<double>(taps[k]);
      transformed.weights.push_back(static_cast<float>(sum));
    }
  }
  return transformed;
}

Affine kernel_taps(const Affine& affine, kernels::RowRange outputs, kernels::RowRange inputs) {
  const std::int64_t all = std::ssize(affine.weights) / std::ssize(affine.bias) / kKernelTaps;
  const std::int64_t count = outputs.end - outputs.begin;
  Affine taps{.weights = {}, .bias = std::vector<float>(static_cast<std::size_t>(kKernelTaps * count))};
  taps.weights.reserve(static_cast<std::size_t>(kKernelTaps * count * (inputs.end - inputs.begin)));
  for (std::int64_t tap = 0; tap < kKernelTaps; ++tap) {
    for (std::int64_t o = outputs.begin; o < outputs.end; ++o) {
      for (std::int64_t i = inputs.begin; i < inputs.end; ++i) {
        taps.weights.push_back(affine.weights[static_cast<std::size_t>((o * all + i) * kKernelTaps + tap)]);
      }
    }
  }
  return taps;
}

Affine bins_first(const Affine& affine, std::int64_t bins) {
  const auto outputs = std::ssize(affine.bias);
  const std::int64_t inputs = std::ssize(affine.weights) / outputs;
  const std::int64_t channels = inputs / bins;
  Affine moved{.weights = std::vector<float>(affine.weights.size()), .bias = affine.bias};
  for (std::int64_t i = 0; i < std::ssize(affine.weights); ++i) {
    const std::int64_t channel = i % inputs / bins;
    const std::int64_t bin = i % bins;
    moved.weights[static_cast<std::size_t>(i / inputs * inputs + bin * channels + channel)] =
        affine.weights[static_cast<std::size_t>(i)];
  }
  return moved;
}

Affine transposed_2x2(const Parameters& parameters, const std::string& name) {
  constexpr std::int64_t kTaps = 4;
  const std::vector<float> weights = parameters[name + ".weight"];
  const std::vector<float> bias = parameters[name + ".bias"];
  const std::int64_t inputs = parameters.size(name + ".weight", 0);
  const std::int64_t outputs = parameters.size(name + ".weight", 1);
  Affine affine{.weights = std::vector<float>(weights.size()), .bias = {}};
  for (std::int64_t tap = 0; tap < kTaps; ++tap) {
    affine.bias.insert(affine.bias.end(), bias.begin(), bias.end());
    for (std::int64_t o = 0; o < outputs; ++o) {
      for (std::int64_t i = 0; i < inputs; ++i) {
        affine.weights[static_cast<std::size_t>((tap * outputs + o) * inputs + i)] =
            weights[static_cast<std::size_t>((i * outputs + o) * kTaps + tap)];
      }
    }
  }
  return affine;
}

}  // namespace spatialmamba::engine
