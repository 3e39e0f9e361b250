#include "model/initialise.h"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

#include "base/random.h"

namespace spatialmamba {
namespace {

constexpr double kLinearStd = 0.02;
constexpr double kLinearCut = 2.0;
constexpr double kStepMin = 0.001;
constexpr double kStepMax = 0.1;
constexpr double kStepFloor = 1e-4;

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return name.ends_with(end); });
}

double uniform_bound(const Shape& weight) {
  return 1.0 / std::sqrt(static_cast<double>(element_count(weight) / weight[0]));
}

void fill_uniform(std::span<float> values, double bound, Random& random) {
  for (float& value : values) value = static_cast<float>(random.uniform(-bound, bound));
}

void fill_normal(std::span<float> values, Random& random) {
  for (float& value : values) {
    value = static_cast<float>(std::clamp(kLinearStd * random.normal(), -kLinearCut, kLinearCut));
  }
}

/// The bias whose softplus is a time step drawn log-uniformly.
void fill_step_bias(std::span<float> values, Random& random) {
  for (float& value : values) {
    const double step =
        std::max(std::exp(random.uniform(std::log(kStepMin), std::log(kStepMax))), kStepFloor);
    value = static_cast<float>(step + std::log(-std::expm1(-step)));  // x + log(1 - e^-x) inverts softplus
  }
}

/// The weight that the bias `name` belongs to.
const TensorSpec& weight_of(const std::string& name, const std::vector<TensorSpec>& specs) {
  const std::string wanted = name.substr(0, name.rfind('.')) + ".weight";
  return *std::ranges::find(specs, wanted, &TensorSpec::name);
}

void fill(const TensorSpec& spec, const std::vector<TensorSpec>& specs, std::span<float> values,
          Random& random) {
  const std::string& name = spec.name;
  const bool is_linear = ends_with_any(name, {"proj.weight", "fc1.weight", "fc2.weight", "head.weight"});
  if (ends_with_any(name, {"A_logs", "running_mean"})) return;  // zero already
  if (ends_with_any(name, {"Ds", "running_var", "alpha", "kernel_3", "kernel_3_1", "kernel_3_2"})) {
    std::ranges::fill(values, 1.0F);
  } else if (name.ends_with("dt_projs_bias")) {
    fill_step_bias(values, random);
  } else if (is_linear) {
    fill_normal(values, random);
  } else if (spec.shape.size() > 1) {  // convolutions, x_proj and the dt projection
    fill_uniform(values, uniform_bound(spec.shape), random);
  } else if (name.ends_with(".weight")) {  // norms
    std::ranges::fill(values, 1.0F);
  } else if (weight_of(name, specs).shape.size() == 4) {  // biases of convolutions
    fill_uniform(values, uniform_bound(weight_of(name, specs).shape), random);
  }
}

}  // namespace

TensorMap initial_weights(const Architecture& architecture, std::uint64_t seed) {
  return initial_weights(tensor_specs(architecture), seed);
}

TensorMap initial_weights(const std::vector<TensorSpec>& specs, std::uint64_t seed) {
  TensorMap tensors;
  std::uint64_t stream = 0;
  for (const TensorSpec& spec : specs) {
    Tensor tensor(spec.dtype, spec.shape);
    if (spec.dtype == DType::f32) {
      Random random(seed, stream);
      fill(spec, specs, {tensor.mutable_data<float>(), static_cast<std::size_t>(tensor.numel())}, random);
    }
    ++stream;
    tensors.add(spec.name, std::move(tensor));
  }
  return tensors;
}

}  // namespace spatialmamba
