#include "train/composed_update.h"

#include <cmath>

namespace spatialmamba::train::composed {

void adamw_update(const kernels::AdamW& settings, const AdamWTensors& tensors) {
  const torch::NoGradGuard no_grad;
  const auto step = static_cast<double>(settings.step);
  const double mean_correction = 1.0 - std::pow(settings.beta1, step);
  const double variance_correction = 1.0 - std::pow(settings.beta2, step);
  if (settings.grad_scale != 1.0) at::_foreach_mul_(tensors.gradients, settings.grad_scale);
  at::_foreach_mul_(tensors.parameters, 1.0 - settings.learning_rate * settings.weight_decay);
  at::_foreach_lerp_(tensors.means, tensors.gradients, 1.0 - settings.beta1);
  at::_foreach_mul_(tensors.variances, settings.beta2);
  at::_foreach_addcmul_(tensors.variances, tensors.gradients, tensors.gradients, 1.0 - settings.beta2);
  const std::vector<torch::Tensor> deviations = at::_foreach_sqrt(tensors.variances);
  at::_foreach_div_(deviations, std::sqrt(variance_correction));
  at::_foreach_add_(deviations, settings.epsilon);
  at::_foreach_addcdiv_(tensors.parameters, tensors.means, deviations,
                        -settings.learning_rate / mean_correction);
}

void ema_update(double decay, const std::vector<torch::Tensor>& averages,
                const std::vector<torch::Tensor>& values) {
  const torch::NoGradGuard no_grad;
  at::_foreach_mul_(averages, decay);
  at::_foreach_add_(averages, values, 1.0 - decay);
}

torch::Tensor norm(const std::vector<torch::Tensor>& tensors) {
  const torch::NoGradGuard no_grad;
  return at::linalg_vector_norm(at::stack(at::_foreach_norm(tensors, 2, torch::kFloat64)));
}

}  // namespace spatialmamba::train::composed
