#include "train/adamw.h"

#include <map>

#include "base/error.h"
#include "kernels/optimizer_update.h"
#include "nn/parallel.h"
#include "train/composed_update.h"

namespace spatialmamba::train {
namespace {

AdamW::Slot make_slot(const std::string& name, const torch::Tensor& parameter, double rate_scale) {
  if (!parameter.is_contiguous()) fail("optimizer: parameter {} is not contiguous", name);
  return {name, rate_scale, parameter, torch::zeros_like(parameter), torch::zeros_like(parameter)};
}

/// Calls work(T{}) with the element type of the parameters, float or double.
template <typename Work>
auto with_element_type(const AdamW::Slot& slot, const Work& work) {
  if (slot.parameter.scalar_type() == torch::kFloat64) return work(double{});
  if (slot.parameter.scalar_type() == torch::kFloat32) return work(float{});
  fail("optimizer: parameter {} is neither float32 nor float64", slot.name);
}

/// Gradients come out of autograd in any layout; the kernels want the parameter's.
void make_gradients_contiguous(const std::vector<AdamW::Slot>& slots) {
  for (const AdamW::Slot& slot : slots) {
    torch::Tensor& gradient = const_cast<torch::Tensor&>(slot.parameter).mutable_grad();
    if (gradient.defined() && !gradient.is_contiguous()) gradient = gradient.contiguous();
  }
}

template <typename T>
std::vector<kernels::AdamWTensor<T>> kernel_tensors(std::span<const AdamW::Slot* const> slots) {
  std::vector<kernels::AdamWTensor<T>> tensors;
  for (const AdamW::Slot* slot : slots) {
    tensors.push_back({.n = slot->parameter.numel(),
                       .parameter = slot->parameter.mutable_data_ptr<T>(),
                       .gradient = slot->parameter.grad().const_data_ptr<T>(),
                       .mean = slot->mean.mutable_data_ptr<T>(),
                       .variance = slot->variance.mutable_data_ptr<T>()});
  }
  return tensors;
}

composed::AdamWTensors composed_tensors(std::span<const AdamW::Slot* const> slots) {
  composed::AdamWTensors tensors;
  for (const AdamW::Slot* slot : slots) {
    tensors.parameters.push_back(slot->parameter);
    tensors.gradients.push_back(slot->parameter.grad());
    tensors.means.push_back(slot->mean);
    tensors.variances.push_back(slot->variance);
  }
  return tensors;
}

std::vector<torch::Tensor> gradients_of(const std::vector<AdamW::Slot>& slots) {
  std::vector<torch::Tensor> gradients;
  for (const AdamW::Slot& slot : slots) {
    if (slot.parameter.grad().defined()) gradients.push_back(slot.parameter.grad());
  }
  return gradients;
}

template <typename T>
double squared_norm(const std::vector<torch::Tensor>& gradients, kernels::Isa isa) {
  std::vector<kernels::NormTensor<T>> tensors;
  for (const torch::Tensor& gradient : gradients) {
    tensors.push_back({gradient.numel(), gradient.const_data_ptr<T>()});
  }
  return kernels::squared_norm<T>(tensors, isa, nn::torch_parallel());
}

}  // namespace

AdamW::AdamW(const ParameterGroups& groups, const AdamWOptions& options,
             const std::function<double(const std::string&)>& rate_scale)
    : options_(options), decaying_(groups.decay.size()) {
  for (const NamedTensors* group : {&groups.decay, &groups.no_decay}) {
    for (const auto& [name, parameter] : *group) {
      slots_.push_back(make_slot(name, parameter, rate_scale ? rate_scale(name) : 1.0));
    }
  }
  if (slots_.empty()) fail("optimizer: there are no parameters");
}

void AdamW::step_slots(std::span<const Slot* const> slots, double learning_rate, double weight_decay,
                       double grad_scale) {
  const kernels::AdamW settings{.learning_rate = learning_rate,
                                .beta1 = options_.beta1,
                                .beta2 = options_.beta2,
                                .epsilon = options_.epsilon,
                                .weight_decay = weight_decay,
                                .step = updates_,
                                .grad_scale = grad_scale};
  if (nn::is_composed(options_.operators, slots.front()->parameter)) {
    composed::adamw_update(settings, composed_tensors(slots));
    return;
  }
  with_element_type(*slots.front(), [&](auto element) {
    using T = decltype(element);
    kernels::adamw_update<T>(settings, kernel_tensors<T>(slots), options_.isa, nn::torch_parallel());
  });
}

/// Parameters of one learning rate go together.
void AdamW::step_group(std::size_t begin, std::size_t end, double learning_rate, double weight_decay,
                       double grad_scale) {
  std::map<double, std::vector<const Slot*>> by_scale;
  for (std::size_t i = begin; i < end; ++i) {
    if (slots_[i].parameter.grad().defined()) by_scale[slots_[i].rate_scale].push_back(&slots_[i]);
  }
  for (const auto& [scale, slots] : by_scale) {
    step_slots(slots, learning_rate * scale, weight_decay, grad_scale);
  }
}

void AdamW::step(double learning_rate, double grad_scale) {
  make_gradients_contiguous(slots_);
  ++updates_;
  step_group(0, decaying_, learning_rate, options_.weight_decay, grad_scale);
  step_group(decaying_, slots_.size(), learning_rate, 0.0, grad_scale);
}

void AdamW::zero_grad() {
  for (Slot& slot : slots_) slot.parameter.mutable_grad().reset();
}

double AdamW::gradient_norm() const {
  make_gradients_contiguous(slots_);
  const std::vector<torch::Tensor> gradients = gradients_of(slots_);
  if (nn::is_composed(options_.operators, slots_.front().parameter)) {
    return gradients.empty() ? 0.0 : composed::norm(gradients).item<double>();
  }
  return std::sqrt(with_element_type(slots_.front(), [&](auto element) {
    return squared_norm<decltype(element)>(gradients, options_.isa);
  }));
}

std::string AdamW::first_non_finite_gradient() const {
  for (const Slot& slot : slots_) {
    const torch::Tensor& gradient = slot.parameter.grad();
    if (gradient.defined() && !torch::isfinite(gradient).all().item<bool>()) return slot.name;
  }
  return {};
}

}  // namespace spatialmamba::train
