#include "train/updater.h"

#include <cmath>

#include "base/error.h"
#include "train/ema.h"

namespace spatialmamba::train {
namespace {

/// torch.nn.utils.clip_grad_norm_ adds this to the norm.
constexpr double kClipEpsilon = 1e-6;

/// What forward passes in training change: whatever does not learn.
std::vector<std::pair<torch::Tensor, torch::Tensor>> copies_of_buffers(const NamedTensors& state) {
  std::vector<std::pair<torch::Tensor, torch::Tensor>> buffers;
  for (const auto& [name, tensor] : state) {
    if (!tensor.requires_grad()) buffers.emplace_back(tensor, tensor.clone());
  }
  return buffers;
}

}  // namespace

Updater::Updater(AdamW optimizer, NamedTensors value, NamedTensors average, const UpdaterOptions& options)
    : options_(options),
      optimizer_(std::move(optimizer)),
      value_(std::move(value)),
      average_(std::move(average)),
      buffers_(copies_of_buffers(value_)) {}

/// A training pass over unusable images would leave its mark on BatchNorm's running statistics.
void Updater::remember_buffers() {
  const torch::NoGradGuard no_grad;
  for (auto& [buffer, before] : buffers_) before.copy_(buffer);
}

void Updater::restore_buffers() {
  const torch::NoGradGuard no_grad;
  for (auto& [buffer, before] : buffers_) buffer.copy_(before);
}

bool Updater::begin_pass() {
  if (!begun_) remember_buffers();
  begun_ = true;
  return problem_.empty();
}

bool Updater::accept(double loss) {
  if (!std::isfinite(loss)) {
    problem_ = fmt::format("the loss is {}", std::isnan(loss) ? "not a number" : "infinite");
  } else if (loss > options_.loss_limit) {
    problem_ = fmt::format("the loss is {:.4g}, above the limit of {:.4g}", loss, options_.loss_limit);
  }
  return problem_.empty();
}

void Updater::drop() {
  optimizer_.zero_grad();
  begun_ = false;
  problem_.clear();
}

Update Updater::apply(double learning_rate) {
  Update result{.learning_rate = learning_rate};
  if (problem_.empty()) result.gradient_norm = optimizer_.gradient_norm();
  if (!std::isfinite(result.gradient_norm)) {
    problem_ = fmt::format("the gradient of {} is not finite", optimizer_.first_non_finite_gradient());
  }
  if (!problem_.empty()) {
    result.problem = problem_;
    restore_buffers();
    drop();
    return result;
  }
  const double scale =
      options_.clip_norm > 0.0 ? options_.clip_norm / (result.gradient_norm + kClipEpsilon) : 1.0;
  result.clipped = scale < 1.0;
  optimizer_.step(learning_rate, result.clipped ? scale : 1.0);
  drop();
  if (!average_.empty()) update_ema(options_.ema_decay, average_, value_, optimizer_.options().isa);
  return result;
}

}  // namespace spatialmamba::train
