#include "train/classifier_start.h"

#include "base/error.h"
#include "data/sampling.h"
#include "device/device.h"
#include "nn/initialise.h"
#include "nn/state_dict.h"
#include "train/class_weights.h"
#include "train/run_state.h"

namespace spatialmamba::train {
namespace {

void load_finetuned(nn::SpatialMambaImpl& model, const RunOptions& options, std::uint64_t seed) {
  const std::string source = options.finetune.string();
  const Weights weights = read_start(options);
  if (const ScanOrder scan = scan_order_of(weights.metadata, source); scan != model.scan()) {
    fail_usage("{}: its states are scanned in the order '{}', model.scan is '{}'", source, name_of(scan),
               name_of(model.scan()));
  }
  const nn::LoadReport report =
      nn::load_weights(model, weights.tensors, source, {.reset_head = true, .seed = seed});
  options.say(fmt::format("starting from {}{}", source, options.finetune_ema ? " (averaged weights)" : ""));
  if (report.head_was_reset) {
    options.say(
        fmt::format("its head does not fit {} classes and starts anew", model.architecture().num_classes));
  }
}

}  // namespace

torch::Device open_device(const Recipe& recipe, const RunOptions& options) {
  const torch::Device device = device::open(recipe.train.device, options.local_rank());
  if (!device.is_cpu() && options.group) options.group->add_gpu(device);
  return device;
}

nn::SpatialMamba start_model(const Plan& plan, const Recipe& recipe, const RunOptions& options,
                             const torch::Device& device, bool resumes) {
  nn::SpatialMamba model(plan.architecture, plan.model);
  nn::initialise(*model, recipe.train.seed);
  if (!options.finetune.empty() && !resumes) load_finetuned(*model, options, recipe.train.seed);
  set_element_type(*model, plan.element_type);
  model->to(device);
  return model;
}

Plan plan_for(const Recipe& recipe, const data::Dataset& training, const RunOptions& options) {
  Plan plan = make_plan(recipe, training.classes, training.size(), options.processes());
  plan.learner.class_weights = class_weights(recipe, data::class_counts(training));
  return plan;
}

}  // namespace spatialmamba::train
