#include "train/learner.h"

#include <cmath>

#include "base/error.h"
#include "nn/state_dict.h"
#include "train/ema.h"
#include "train/losses.h"

namespace spatialmamba::train {
namespace {

/// torch.nn.utils.clip_grad_norm_ adds this to the norm.
constexpr double kClipEpsilon = 1e-6;

NamedTensors named_parameters(const nn::SpatialMambaImpl& model) {
  NamedTensors parameters;
  for (auto& entry : nn::named_state(model)) {
    if (entry.second.requires_grad()) parameters.push_back(std::move(entry));
  }
  return parameters;
}

AdamW make_optimizer(nn::SpatialMamba& model, const LearnerOptions& options) {
  if (options.accumulation < 1) fail_usage("accumulation is {}, expected at least 1", options.accumulation);
  if (options.mesa > 0.0 && !options.ema) fail_usage("MESA needs the EMA, whose weights teach");
  validate(options.schedule);
  return AdamW(group_parameters(named_parameters(*model)), options.adamw);
}

/// Works in evaluation mode and without gradients, and puts the mode back.
class EvaluationMode {
 public:
  explicit EvaluationMode(torch::nn::Module& module) : module_(module), was_training_(module.is_training()) {
    module_.eval();
  }
  ~EvaluationMode() { module_.train(was_training_); }
  EvaluationMode(const EvaluationMode&) = delete;
  EvaluationMode& operator=(const EvaluationMode&) = delete;

 private:
  torch::nn::Module& module_;
  bool was_training_;
  torch::NoGradGuard no_grad_;
};

}  // namespace

torch::Tensor evaluate_logits(nn::SpatialMambaImpl& model, const torch::Tensor& images) {
  const EvaluationMode mode(model);
  return model.forward(images);
}

nn::SpatialMamba copy_model(const nn::SpatialMambaImpl& model) {
  nn::SpatialMamba copy(model.architecture(),
                        nn::ModelOptions{.isa = model.isa(), .precision = model.precision()});
  const NamedTensors from = nn::named_state(model);
  const NamedTensors to = nn::named_state(*copy);
  for (std::size_t i = 0; i < to.size(); ++i) to[i].second.set_data(from[i].second.detach().clone());
  return copy;
}

void set_element_type(nn::SpatialMambaImpl& model, torch::ScalarType type) {
  for (const auto& [name, tensor] : nn::named_state(model)) {
    if (tensor.is_floating_point()) tensor.set_data(tensor.detach().to(type));
  }
}

Learner::Learner(nn::SpatialMamba model, const LearnerOptions& options)
    : options_(options), model_(std::move(model)), optimizer_(make_optimizer(model_, options)) {
  if (options.ema) {
    ema_model_ = copy_model(*model_);
    ema_model_->eval();
    for (torch::Tensor& parameter : ema_model_->parameters()) parameter.set_requires_grad(false);
  }
}

torch::Tensor Learner::teach(const torch::Tensor& images) {
  return torch::softmax(evaluate_logits(*ema_model_, images), -1);
}

MicroStep Learner::accumulate(const torch::Tensor& images, const torch::Tensor& targets, bool mesa) {
  MicroStep step;
  model_->train();
  const torch::Tensor logits = model_->forward(images);
  torch::Tensor loss = soft_target_cross_entropy(logits, targets);
  step.cross_entropy = loss.item<double>();
  if (mesa && options_.mesa > 0.0) {
    const torch::Tensor teacher = soft_target_cross_entropy(logits, teach(images));
    step.teacher = teacher.item<double>();
    loss = loss + options_.mesa * teacher;
  }
  loss = loss / static_cast<double>(options_.accumulation);
  step.loss = loss.item<double>();
  if (!std::isfinite(step.loss)) {
    fail("update {}: the loss is {}; a smaller learning rate or a longer warm-up may help", updates() + 1,
         std::isnan(step.loss) ? "not a number" : "infinite");
  }
  loss.backward();
  return step;
}

Update Learner::update() {
  Update result{.learning_rate = options_.schedule.for_update(updates()),
                .gradient_norm = optimizer_.gradient_norm()};
  if (!std::isfinite(result.gradient_norm)) {
    fail("update {}: the gradient of {} is not finite; a smaller learning rate may help", updates() + 1,
         optimizer_.first_non_finite_gradient());
  }
  const double scale =
      options_.clip_norm > 0.0 ? options_.clip_norm / (result.gradient_norm + kClipEpsilon) : 1.0;
  result.clipped = scale < 1.0;
  optimizer_.step(result.learning_rate, result.clipped ? scale : 1.0);
  optimizer_.zero_grad();
  if (options_.ema) {
    update_ema(options_.ema_decay, nn::named_state(*ema_model_), nn::named_state(*model_),
               options_.adamw.isa);
  }
  return result;
}

}  // namespace spatialmamba::train
