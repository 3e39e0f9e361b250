#include "nn/initialise.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "nn/state_dict.h"

namespace spatialmamba::nn {
namespace {

constexpr double kLinearStd = 0.02;
constexpr double kLinearCut = 2.0;
constexpr double kStepMin = 0.001;
constexpr double kStepMax = 0.1;
constexpr double kStepFloor = 1e-4;

bool ends_with_any(std::string_view name, std::initializer_list<std::string_view> ends) {
  return std::any_of(ends.begin(), ends.end(), [&](std::string_view end) { return name.ends_with(end); });
}

double fan_in(const torch::Tensor& weight) {
  return static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0));
}

void fill_uniform(torch::Tensor& tensor, double bound, const at::Generator& generator) {
  tensor.uniform_(-bound, bound, generator);
}

/// The bias whose softplus is a time step drawn log-uniformly.
void fill_step_bias(torch::Tensor& bias, const at::Generator& generator) {
  bias.uniform_(std::log(kStepMin), std::log(kStepMax), generator).exp_().clamp_min_(kStepFloor);
  bias.add_(bias.neg().expm1_().neg_().log_());  // x + log(1 - e^-x) inverts softplus
}

/// The weight that the bias `name` belongs to.
const torch::Tensor& weight_of(const std::string& name,
                               const std::vector<std::pair<std::string, torch::Tensor>>& state) {
  const std::string wanted = name.substr(0, name.rfind('.')) + ".weight";
  return std::find_if(state.begin(), state.end(), [&](const auto& entry) { return entry.first == wanted; })
      ->second;
}

void fill(const std::string& name, torch::Tensor tensor,
          const std::vector<std::pair<std::string, torch::Tensor>>& state, const at::Generator& generator) {
  const bool is_linear = ends_with_any(name, {"proj.weight", "fc1.weight", "fc2.weight", "head.weight"});
  if (ends_with_any(name, {"A_logs", "running_mean", "num_batches_tracked"})) {
    tensor.zero_();
  } else if (ends_with_any(name, {"Ds", "running_var", "alpha", "kernel_3", "kernel_3_1", "kernel_3_2"})) {
    tensor.fill_(1);
  } else if (name.ends_with("dt_projs_bias")) {
    fill_step_bias(tensor, generator);
  } else if (name.ends_with("dt_projs_weight")) {
    fill_uniform(tensor, 1.0 / std::sqrt(static_cast<double>(tensor.size(1))), generator);
  } else if (is_linear) {
    tensor.normal_(0.0, kLinearStd, generator).clamp_(-kLinearCut, kLinearCut);
  } else if (tensor.dim() > 1) {  // convolutions and x_proj
    fill_uniform(tensor, 1.0 / std::sqrt(fan_in(tensor)), generator);
  } else if (name.ends_with(".weight")) {  // norms
    tensor.fill_(1);
  } else if (weight_of(name, state).dim() == 4) {  // biases of convolutions
    fill_uniform(tensor, 1.0 / std::sqrt(fan_in(weight_of(name, state))), generator);
  } else {
    tensor.zero_();
  }
}

void initialise_names(SpatialMambaImpl& model, std::uint64_t seed, std::string_view prefix) {
  const torch::NoGradGuard no_grad;
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed);
  const auto state = named_state(model);
  for (const auto& [name, tensor] : state) {
    if (name.starts_with(prefix)) fill(name, tensor, state, generator);
  }
}

}  // namespace

void initialise(SpatialMambaImpl& model, std::uint64_t seed) {
  initialise_names(model, seed, "");
}

void initialise_head(SpatialMambaImpl& model, std::uint64_t seed) {
  initialise_names(model, seed, "head.");
}

}  // namespace spatialmamba::nn
