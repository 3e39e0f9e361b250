#include "train/learner.h"

#include <cmath>

#include "base/error.h"
#include "nn/state_dict.h"
#include "train/ema.h"
#include "train/layer_decay.h"
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

void freeze(nn::SpatialMambaImpl& model, std::int64_t stages) {
  for (auto& [name, tensor] : nn::named_state(model)) {
    if (is_frozen(name, stages)) tensor.set_requires_grad(false);
  }
}

/// The stem and the stages that do not learn, whose BatchNorm must not either.
std::vector<std::shared_ptr<torch::nn::Module>> frozen_modules(const nn::SpatialMambaImpl& model,
                                                               std::int64_t stages) {
  std::vector<std::shared_ptr<torch::nn::Module>> modules;
  for (const auto& entry : model.named_modules()) {
    if (!entry.key().empty() && is_frozen(entry.key(), stages)) modules.push_back(entry.value());
  }
  return modules;
}

AdamW make_optimizer(nn::SpatialMamba& model, const LearnerOptions& options) {
  if (options.accumulation < 1) fail_usage("accumulation is {}, expected at least 1", options.accumulation);
  if (options.mesa > 0.0 && !options.ema) fail_usage("MESA needs the EMA, whose weights teach");
  validate(options.schedule);
  constrain_fusion(*model, options.fusion);
  freeze(*model, options.frozen_stages);
  return AdamW(group_parameters(named_parameters(*model)), options.adamw, [&](const std::string& name) {
    return layer_rate_scale(name, model->architecture(), options.layer_decay);
  });
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
  frozen_ = frozen_modules(*model_, options.frozen_stages);
  if (options.ema) {
    ema_model_ = copy_model(*model_);
    ema_model_->eval();
    for (torch::Tensor& parameter : ema_model_->parameters()) parameter.set_requires_grad(false);
  }
}

void Learner::begin_training_mode() {
  model_->train();
  for (const auto& module : frozen_) module->eval();
}

torch::Tensor Learner::teach(const torch::Tensor& images) {
  return torch::softmax(evaluate_logits(*ema_model_, images), -1);
}

/// A training pass over unusable images would leave its mark on BatchNorm's running statistics.
void Learner::remember_statistics() {
  const torch::NoGradGuard no_grad;
  if (statistics_.empty()) {
    for (const torch::Tensor& buffer : model_->buffers()) statistics_.emplace_back(buffer, buffer.clone());
  } else {
    for (auto& [buffer, before] : statistics_) before.copy_(buffer);
  }
}

void Learner::restore_statistics() {
  const torch::NoGradGuard no_grad;
  for (auto& [buffer, before] : statistics_) buffer.copy_(before);
}

void Learner::drop_gradients() {
  optimizer_.zero_grad();
  step_begun_ = false;
  problem_.clear();
}

std::string Learner::first_non_finite_layer() {
  const torch::NoGradGuard no_grad;
  if (!torch::isfinite(images_).all().item<bool>()) return "the images";
  remember_statistics();
  const auto stages = model_->forward_stages(images_, true).named();
  restore_statistics();
  for (const auto& [name, output] : stages) {
    if (!torch::isfinite(output).all().item<bool>()) return name == "logits" ? "head" : name;
  }
  return {};
}

MicroStep Learner::accumulate(const torch::Tensor& images, const torch::Tensor& targets, bool mesa) {
  MicroStep step;
  if (!step_begun_) remember_statistics();
  step_begun_ = true;
  if (!problem_.empty()) return {.usable = false};
  images_ = images;
  begin_training_mode();
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
    problem_ = fmt::format("the loss is {}", std::isnan(step.loss) ? "not a number" : "infinite");
  } else if (step.cross_entropy > options_.loss_limit) {
    problem_ =
        fmt::format("the loss is {:.4g}, above the limit of {:.4g}", step.cross_entropy, options_.loss_limit);
  }
  step.usable = problem_.empty();
  if (step.usable) loss.backward();
  return step;
}

Update Learner::update() {
  Update result{.learning_rate = options_.schedule.for_update(updates())};
  constrain_fusion_gradients(*model_, options_.fusion);
  if (problem_.empty()) result.gradient_norm = optimizer_.gradient_norm();
  if (!std::isfinite(result.gradient_norm)) {
    problem_ = fmt::format("the gradient of {} is not finite", optimizer_.first_non_finite_gradient());
  }
  if (!problem_.empty()) {
    result.problem = problem_;
    restore_statistics();
    drop_gradients();
    return result;
  }
  const double scale =
      options_.clip_norm > 0.0 ? options_.clip_norm / (result.gradient_norm + kClipEpsilon) : 1.0;
  result.clipped = scale < 1.0;
  optimizer_.step(result.learning_rate, result.clipped ? scale : 1.0);
  drop_gradients();
  if (options_.ema) {
    update_ema(options_.ema_decay, nn::named_state(*ema_model_), nn::named_state(*model_),
               options_.adamw.isa);
  }
  return result;
}

}  // namespace spatialmamba::train
