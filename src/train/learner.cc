#include "train/learner.h"

#include "base/error.h"
#include "nn/state_dict.h"
#include "train/evaluation_mode.h"
#include "train/layer_decay.h"
#include "train/losses.h"
#include "train/replicas.h"

namespace spatialmamba::train {
namespace {

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

/// With what the options fix and exclude from learning.
nn::SpatialMamba prepared(nn::SpatialMamba model, const LearnerOptions& options) {
  if (options.accumulation < 1) fail_usage("accumulation is {}, expected at least 1", options.accumulation);
  if (options.mesa > 0.0 && !options.ema) fail_usage("MESA needs the EMA, whose weights teach");
  validate(options.schedule);
  constrain_fusion(*model, options.fusion);
  freeze(*model, options.frozen_stages);
  return model;
}

nn::SpatialMamba make_average(const nn::SpatialMamba& model, bool wanted) {
  if (!wanted) return nullptr;
  nn::SpatialMamba average = copy_model(*model);
  average->eval();
  for (torch::Tensor& parameter : average->parameters()) parameter.set_requires_grad(false);
  return average;
}

torch::Tensor weights_tensor(const nn::SpatialMambaImpl& model, const std::vector<double>& weights) {
  if (weights.empty()) return {};
  const torch::Tensor parameter = model.parameters().front();
  return torch::tensor(weights, torch::kFloat64).to(parameter.device(), parameter.scalar_type());
}

Updater make_updater(const nn::SpatialMamba& model, const nn::SpatialMamba& average,
                     const LearnerOptions& options, const std::shared_ptr<distributed::Group>& group) {
  const auto rate_scale = [&](const std::string& name) {
    return layer_rate_scale(name, model->architecture(), options.layer_decay);
  };
  return {AdamW(group_parameters(named_parameters(*model)), options.adamw, rate_scale),
          nn::named_state(*model),
          average ? nn::named_state(*average) : NamedTensors{},
          {.clip_norm = options.clip_norm,
           .ema_decay = options.ema_decay,
           .loss_limit = options.loss_limit,
           .loss_scale = options.loss_scale,
           .accumulation = options.accumulation,
           .replicas = options.replicas,
           .group = group}};
}

}  // namespace

torch::Tensor evaluate_logits(nn::SpatialMambaImpl& model, const torch::Tensor& images) {
  const EvaluationMode mode(model);
  return model.forward(images);
}

nn::SpatialMamba copy_model(const nn::SpatialMambaImpl& model) {
  nn::SpatialMamba copy(model.architecture(), nn::ModelOptions{.isa = model.isa(),
                                                               .precision = model.precision(),
                                                               .scan = model.scan(),
                                                               .operators = model.operators()});
  copy_values(nn::named_state(model), nn::named_state(*copy));
  return copy;
}

Learner::Learner(nn::SpatialMamba model, const LearnerOptions& options,
                 const std::shared_ptr<distributed::Group>& group)
    : options_(options),
      model_(prepared(std::move(model), options)),
      ema_model_(make_average(model_, options.ema)),
      class_weights_(weights_tensor(*model_, options.class_weights)),
      updater_(make_updater(model_, ema_model_, options, group)),
      frozen_(frozen_modules(*model_, options.frozen_stages)) {
  if (group && options.sync_batch_norm) synchronise_batch_norm(*model_, group);
}

void Learner::begin_training_mode() {
  model_->train();
  for (const auto& module : frozen_) module->eval();
}

torch::Tensor Learner::teach(const torch::Tensor& images) {
  return torch::softmax(evaluate_logits(*ema_model_, images), -1);
}

void Learner::drop_gradients() {
  updater_.drop();
}

std::string Learner::first_non_finite_layer() {
  const torch::NoGradGuard no_grad;
  if (!torch::isfinite(images_).all().item<bool>()) return "the images";
  const auto stages = model_->forward_stages(images_, true).named();
  updater_.restore_buffers();
  for (const auto& [name, output] : stages) {
    if (!torch::isfinite(output).all().item<bool>()) return name == "logits" ? "head" : name;
  }
  return {};
}

MicroStep Learner::accumulate(const torch::Tensor& images, const torch::Tensor& targets, bool mesa) {
  MicroStep step;
  if (!updater_.begin_pass()) return {.usable = false};
  images_ = images;
  begin_training_mode();
  const torch::Tensor logits = model_->forward(images);
  const torch::Tensor entropy = soft_target_cross_entropy(logits, targets, class_weights_);
  const bool taught = mesa && options_.mesa > 0.0;
  const torch::Tensor teacher =
      taught ? soft_target_cross_entropy(logits, teach(images)) : torch::zeros_like(entropy);
  const torch::Tensor whole = taught ? entropy + options_.mesa * teacher : entropy;
  const torch::Tensor loss = whole / static_cast<double>(options_.accumulation * options_.replicas);
  const torch::Tensor values =  // together, since a GPU is waited for
      torch::stack({loss, entropy, teacher, whole}).detach().to(torch::kCPU, torch::kFloat64);
  step.loss = values[0].item<double>();
  step.cross_entropy = values[1].item<double>();
  step.teacher = values[2].item<double>();
  step.usable = updater_.accept(values[3].item<double>());
  updater_.differentiate(loss);
  return step;
}

Update Learner::update(std::span<double> totals) {
  constrain_fusion_gradients(*model_, options_.fusion);
  return updater_.apply(options_.schedule.for_update(updates()), totals);
}

}  // namespace spatialmamba::train
