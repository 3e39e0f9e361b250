#include "train/recipe_parts.h"

#include <nlohmann/json.hpp>

#include "base/error.h"

namespace spatialmamba::train {

Architecture variant_of(const Recipe& recipe) {
  const Recipe::Model& model = recipe.model;
  const bool custom = model.variant == "custom";
  Architecture architecture = custom ? Architecture{} : architecture_of(model.variant);
  if (custom) {
    architecture.variant = model.variant;
    architecture.dims = model.dims;
    architecture.depths = model.depths;
  }
  architecture.drop_path_rate = model.drop_path.value_or(architecture.drop_path_rate);
  return architecture;
}

Architecture backbone_of(const Recipe& recipe) {
  Architecture architecture = variant_of(recipe);
  architecture.backbone = true;
  return architecture;
}

nn::ModelOptions model_options(const Recipe& recipe) {
  nn::ModelOptions options;
  options.precision = nn::precision_of(recipe.train.precision);
  options.scan = scan_order_from_name(recipe.model.scan);
  options.operators = nn::operators_of(recipe.train.operators);
  options.checkpoint_blocks = recipe.model.checkpoint_blocks;
  return options;
}

torch::ScalarType element_type(const Recipe& recipe) {
  return recipe.train.precision == "fp64" ? torch::kFloat64 : torch::kFloat32;
}

image::InputFormat input_format(const Recipe::Data& data) {
  image::InputFormat format;
  format.height = static_cast<int>(data.size.front());
  format.width = static_cast<int>(data.size.back());
  format.channels = static_cast<int>(data.channels);
  for (std::size_t c = 0; c < data.mean.size(); ++c) {
    format.mean[c] = static_cast<float>(data.mean[c]);
    format.std[c] = static_cast<float>(data.std[c]);
  }
  image::validate(format);
  return format;
}

AdamWOptions adamw_options(const Recipe& recipe) {
  return {.beta1 = recipe.optimizer.betas[0],
          .beta2 = recipe.optimizer.betas[1],
          .epsilon = recipe.optimizer.epsilon,
          .weight_decay = recipe.optimizer.weight_decay,
          .operators = nn::operators_of(recipe.train.operators)};
}

std::optional<LossScaleOptions> loss_scale_options(const Recipe& recipe) {
  if (recipe.train.precision != "fp16") return std::nullopt;
  return LossScaleOptions{.initial = recipe.train.loss_scale, .interval = recipe.train.loss_scale_interval};
}

UpdaterOptions updater_options(const Recipe& recipe, std::int64_t replicas,
                               const std::shared_ptr<distributed::Group>& group) {
  return {.clip_norm = recipe.train.clip_norm,
          .ema_decay = recipe.train.ema_decay,
          .loss_limit = recipe.train.loss_limit,
          .loss_scale = loss_scale_options(recipe),
          .accumulation = recipe.train.accumulation,
          .replicas = replicas,
          .group = group};
}

IterationPlan iteration_plan(const Recipe& recipe) {
  return {.iterations = recipe.train.iterations,
          .evaluate_every = recipe.output.evaluate_iterations,
          .patience = recipe.train.patience,
          .bad_steps = recipe.train.bad_steps,
          .keep_every = recipe.output.keep_every,
          .log_every = recipe.output.log_every,
          .checkpoint_minutes = recipe.output.checkpoint_minutes};
}

std::map<std::string, std::string> description_of(const Recipe& recipe,
                                                  const std::vector<std::string>& classes,
                                                  const std::vector<std::int64_t>& fit) {
  return {{"task", recipe.model.task},
          {"variant", recipe.model.variant},
          {"classes", nlohmann::json(classes).dump()},
          {"fit", nlohmann::json(fit).dump()},
          {"mean", nlohmann::json(recipe.data.mean).dump()},
          {"std", nlohmann::json(recipe.data.std).dump()}};
}

void refuse_classifiers_options(const Recipe& recipe, const RunOptions& options) {
  const std::string& task = recipe.model.task;
  if (recipe.data.channels != 3) fail_usage("data.channels is {}, {} takes 3", recipe.data.channels, task);
  if (recipe.train.device != "cpu") {
    fail_usage("train.device is {}: classifiers train on GPUs, {} on CPUs only", recipe.train.device, task);
  }
  if (recipe.model.fusion != "full") {
    fail_usage("model.fusion is {}: ablations are trained as classifiers, not for {}", recipe.model.fusion,
               task);
  }
  if (recipe.train.frozen_stages != 0 || recipe.optimizer.layer_decay != 1.0) {
    fail_usage("train.frozen_stages and optimizer.layer_decay are for classifiers, not for {}", task);
  }
  if (recipe.train.class_weights.balanced || !recipe.train.class_weights.listed.empty()) {
    fail_usage("train.class_weights are for classifiers, not for {}", task);
  }
  if (recipe.train.mesa.value_or(0.0) != 0.0) {
    fail_usage("train.mesa is {}: MESA teaches classifiers, not {}", *recipe.train.mesa, task);
  }
  if (!options.resume_from.empty()) {
    fail_usage(
        "--resume-from continues runs of the reference's classifiers, not of {}; --finetune starts "
        "from weights",
        task);
  }
}

}  // namespace spatialmamba::train
