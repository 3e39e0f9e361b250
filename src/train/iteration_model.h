#pragma once

#include <ATen/CPUGeneratorImpl.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "train/iteration_run.h"
#include "train/model_values.h"
#include "train/recipe_parts.h"
#include "train/replicas.h"

namespace spatialmamba::train {

/// One of an iteration's passes.
struct Pass {
  std::int64_t own = 0;     ///< which of this process's replicas learns
  std::int64_t batch = 0;   ///< from its part of which batch
  std::int64_t stream = 0;  ///< of random numbers: no other pass of the run has it
};

struct PassLoss {
  torch::Tensor total;
  std::vector<double> parts;  ///< in the order of the names
};

/// The passes of this process in one iteration, forward and backward. `losses_of` computes the losses of one
/// and adds to the step what it has seen; the step's losses are the total and the parts, which `names` names.
IterationStep make_passes(Updater& updater, std::int64_t iteration, const std::vector<std::string>& names,
                          const std::function<PassLoss(const Pass&, IterationStep&)>& losses_of);

using NamedMaps = std::vector<std::pair<std::string, torch::Tensor>>;

/// The first of a network's maps for these images, or the images, that is not finite; empty when all are.
std::string first_non_finite(const torch::Tensor& images, Updater& updater,
                             const std::function<NamedMaps(const torch::Tensor&)>& maps_of);

/// A network of any task that counts iterations, with what trains it: its moving average, its random numbers
/// and its updater. A `Holder` is LibTorch's handle of the network.
template <typename Holder>
class IterationModel {
 public:
  /// Takes over a model with its initial weights.
  IterationModel(Holder model, const Recipe& recipe, const Cut& cut, const RunOptions& options)
      : seed_(recipe.train.seed),
        generator_(at::make_generator<at::CPUGeneratorImpl>(seed_)),
        model_(of_type(std::move(model), element_type(recipe))),
        average_(recipe.train.ema ? average_of(model_, model_options(recipe)) : Holder(nullptr)),
        updater_(AdamW(group_by_norm(named_state(*model_)), adamw_options(recipe)), named_state(*model_),
                 average_ ? named_state(*average_) : NamedTensors{},
                 updater_options(recipe, cut.replicas, options.group)) {
    model_->set_generator(generator_);
    if (options.group && recipe.train.sync_batch_norm) synchronise_batch_norm(*model_, options.group);
  }
  IterationModel(const IterationModel&) = delete;
  IterationModel& operator=(const IterationModel&) = delete;

  Holder& model() { return model_; }
  const Holder& model() const { return model_; }
  /// The model, or its moving average.
  auto& network(bool average) { return average ? *average_ : *model_; }
  Updater& updater() { return updater_; }

  /// Sets the random numbers of a pass.
  void draw_from(const Pass& pass) {
    generator_.set_current_seed(stream_of(seed_, Stream::drop_path, pass.stream).bits());
  }

 private:
  static Holder of_type(Holder model, torch::ScalarType type) {
    set_element_type(*model, type);
    return model;
  }

  std::uint64_t seed_;
  at::Generator generator_;
  Holder model_;
  Holder average_;  ///< null without EMA
  Updater updater_;
};

/// The functions of a task's run as run_iterations() wants them.
template <typename Run>
IterationTask task_of(Run& run, Updater& updater) {
  return {
      .updater = &updater,
      .step = [&run](std::int64_t number) { return run.step(number); },
      .evaluate = [&run](bool average, const std::function<bool()>& stop,
                         std::vector<std::string>& skipped) { return run.evaluate(average, stop, skipped); },
      .learning_rate = [&run](std::int64_t number) { return run.learning_rate(number); },
      .bad_layer = [&run] { return run.bad_layer(); },
      .description = run.description(),
      .problems = run.problems(),
      .facts = [&run] { return run.facts(); }};
}

}  // namespace spatialmamba::train
