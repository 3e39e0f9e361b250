#include "train/ema.h"

#include "base/error.h"
#include "kernels/optimizer_update.h"
#include "nn/parallel.h"
#include "train/composed_update.h"

namespace spatialmamba::train {
namespace {

template <typename T>
void update_floating(double decay, const NamedTensors& average, const NamedTensors& value, kernels::Isa isa) {
  std::vector<kernels::EmaTensor<T>> tensors;
  for (std::size_t i = 0; i < average.size(); ++i) {
    const torch::Tensor& to = average[i].second;
    if (to.scalar_type() != c10::CppTypeToScalarType<T>::value) continue;
    tensors.push_back({to.numel(), to.mutable_data_ptr<T>(), value[i].second.const_data_ptr<T>()});
  }
  kernels::ema_update<T>(decay, tensors, isa, nn::torch_parallel());
}

void update_composed(double decay, const NamedTensors& average, const NamedTensors& value) {
  std::vector<torch::Tensor> averages;
  std::vector<torch::Tensor> values;
  for (std::size_t i = 0; i < average.size(); ++i) {
    if (!average[i].second.is_floating_point()) continue;
    averages.push_back(average[i].second);
    values.push_back(value[i].second);
  }
  composed::ema_update(decay, averages, values);
}

void update_integer(double decay, const torch::Tensor& average, const torch::Tensor& value) {
  average.copy_(average * decay + value * (1.0 - decay));  // copy_ truncates
}

}  // namespace

void update_ema(double decay, const NamedTensors& average, const NamedTensors& value, kernels::Isa isa,
                nn::Operators operators) {
  if (average.size() != value.size())
    fail("EMA: {} tensors averaged, {} given", average.size(), value.size());
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < average.size(); ++i) {
    const auto& [name, to] = average[i];
    const auto& [other_name, from] = value[i];
    if (name != other_name || to.sizes() != from.sizes() || to.scalar_type() != from.scalar_type()) {
      fail("EMA: {} does not match {}", name, other_name);
    }
    if (!to.is_contiguous() || !from.is_contiguous()) fail("EMA: {} is not contiguous", name);
    if (!to.is_floating_point()) update_integer(decay, to, from);
  }
  if (!average.empty() && nn::is_composed(operators, average.front().second)) {
    return update_composed(decay, average, value);
  }
  update_floating<float>(decay, average, value, isa);
  update_floating<double>(decay, average, value, isa);
}

}  // namespace spatialmamba::train
