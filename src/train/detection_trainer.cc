#include "train/detection_trainer.h"

#include <ATen/CPUGeneratorImpl.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "train/detection_batches.h"
#include "train/detection_evaluate.h"
#include "train/detection_model.h"
#include "train/iteration_run.h"
#include "train/model_values.h"
#include "train/recipe_parts.h"
#include "train/schedule.h"
#include "weights/checksums.h"

namespace spatialmamba::train {
namespace {

std::vector<int> sides_of(const std::vector<std::int64_t>& sides) {
  return {sides.begin(), sides.end()};
}

DetectionBatchOptions batch_options_of(const Recipe& recipe, const RunOptions& options) {
  const Recipe::Detection& section = recipe.detection;
  DetectionBatchOptions batches{.transform = {},
                                .format = input_format(recipe.data),
                                .batch = recipe.train.batch,
                                .seed = recipe.train.seed,
                                .strict = options.strict};
  batches.transform.random_flip = section.flip;
  batches.transform.long_side = static_cast<int>(section.fit[0]);
  batches.transform.short_sides = section.short_sides.empty()
                                      ? std::vector<int>{static_cast<int>(section.fit[1])}
                                      : sides_of(section.short_sides);
  batches.transform.crop_short_sides = sides_of(section.crop_short_sides);
  batches.transform.crop_low = static_cast<int>(section.crop[0]);
  batches.transform.crop_high = static_cast<int>(section.crop[1]);
  return batches;
}

StepSchedule schedule_of(const Recipe& recipe) {
  StepSchedule schedule{.base_rate = scaled_rate(recipe, recipe.optimizer.rate),
                        .warmup_factor = recipe.optimizer.warmup_factor,
                        .warmup_iterations = recipe.optimizer.warmup_iterations,
                        .milestones = recipe.optimizer.milestones};
  validate(schedule);
  return schedule;
}

detection::PredictOptions predict_options(const Recipe& recipe) {
  detection::PredictOptions options;
  options.long_side = static_cast<int>(recipe.detection.fit[0]);
  options.short_side = static_cast<int>(recipe.detection.fit[1]);
  options.format = input_format(recipe.data);
  return options;
}

nn::DetectionTraining training_of(const Recipe& recipe) {
  nn::DetectionTraining training;
  training.rpn_sampler.count = recipe.detection.rpn_samples;
  training.box_sampler.count = recipe.detection.box_samples;
  return training;
}

class DetectionRun {
 public:
  DetectionRun(const Recipe& recipe, const data::DetectionDataset& training,
               const data::DetectionDataset& validation, const RunOptions& options)
      : recipe_(recipe),
        validation_(validation),
        options_(options),
        identity_{to_yaml(recipe), training.classes, training.size()},
        schedule_(schedule_of(recipe)),
        generator_(at::make_generator<at::CPUGeneratorImpl>(recipe.train.seed)),
        batches_(training, batch_options_of(recipe, options)),
        model_(make_model()),
        average_(recipe.train.ema ? average_of(model_, model_options(recipe)) : nn::Detector(nullptr)),
        updater_(AdamW(group_by_norm(named_state(*model_)), adamw_options(recipe)), named_state(*model_),
                 average_ ? named_state(*average_) : NamedTensors{}, updater_options(recipe)) {
    for (const data::DetectionDataset* part : {&training, &validation}) {
      for (const std::string& problem : part->coco->problems) {
        problems_.push_back(fmt::format("{}: {}", part->coco->name, problem));
      }
    }
  }

  RunResult execute() {
    const IterationTask task{
        .updater = &updater_,
        .step = [this](std::int64_t number) { return step(number); },
        .evaluate = [this](bool average, const std::function<bool()>& stop,
                           std::vector<std::string>& skipped) { return evaluate(average, stop, skipped); },
        .learning_rate = [this](std::int64_t number) { return schedule_.at(number); },
        .bad_layer = [this] { return bad_layer(); },
        .description = description_of(recipe_, identity_.classes, recipe_.detection.fit),
        .problems = problems_,
        .facts = [this] { return facts(); },
    };
    return run_iterations(task, iteration_plan(recipe_), identity_, options_);
  }

 private:
  nn::Detector make_model() {
    const auto classes = static_cast<std::int64_t>(identity_.classes.size());
    nn::Detector model(train::detector_of(recipe_, classes), model_options(recipe_));
    nn::initialise(*model, recipe_.train.seed);
    if (!options_.finetune.empty()) {
      const Weights weights = read_weights(options_.finetune, options_.finetune_ema ? "model_ema" : "");
      verify_checksums(weights, options_.finetune.string());
      start_from(*model, weights.tensors, options_.finetune.string(), options_.say);
    }
    set_element_type(*model, element_type(recipe_));
    model->set_generator(generator_);
    return model;
  }

  IterationStep step(std::int64_t number) {
    IterationStep result{.losses = {{"loss", 0.0},
                                    {"loss_rpn_cls", 0.0},
                                    {"loss_rpn_bbox", 0.0},
                                    {"loss_cls", 0.0},
                                    {"loss_bbox", 0.0},
                                    {"loss_mask", 0.0}}};
    model_->train();
    for (std::int64_t part = 0; part < recipe_.train.accumulation; ++part) {
      if (updater_.begin_pass()) pass(number * recipe_.train.accumulation + part, result);
    }
    return result;
  }

  /// Forward and, where the loss is usable, backward of one micro-batch.
  void pass(std::int64_t micro_batch, IterationStep& step) {
    const Stopwatch waiting;
    const DetectionBatch batch = batches_.at(micro_batch);
    step.wait_seconds += waiting.seconds();
    step.skipped.insert(step.skipped.end(), batch.skipped.begin(), batch.skipped.end());
    if (batch.targets.empty()) fail("no picture of a training batch can be read");
    step.images += std::ssize(batch.targets);
    generator_.set_current_seed(stream_of(recipe_.train.seed, Stream::drop_path, micro_batch).bits());
    nn::RandomChooser chooser(stream_of(recipe_.train.seed, Stream::boxes, micro_batch));
    images_ = batch.images.to(element_type(recipe_));
    const nn::DetectionLosses losses =
        nn::detection_losses(*model_, images_, batch.targets, training_of(recipe_), chooser);
    const torch::Tensor total = losses.total();
    if (!updater_.accept(total.item<double>())) return;
    const auto parts = static_cast<double>(recipe_.train.accumulation);
    const torch::Tensor scaled = total / parts;
    scaled.backward();
    step.losses[0].second += scaled.item<double>();
    const auto named = losses.named();
    for (std::size_t i = 0; i < named.size(); ++i) step.losses[i + 1].second += named[i].second / parts;
  }

  std::optional<NamedValues> evaluate(bool average, const std::function<bool()>& stop,
                                      std::vector<std::string>& skipped) {
    const DetectionEvaluateOptions how{.predict = predict_options(recipe_),
                                       .strict = options_.strict,
                                       .label = average ? "evaluate EMA" : "evaluate",
                                       .stop = stop};
    const auto result = evaluate_detection(network_of(average ? *average_ : *model_), validation_, how);
    if (!result) return std::nullopt;
    skipped = result->skipped;
    // COCO's figures are -1 where there is nothing to find.
    const auto share = [](double figure) { return std::max(figure, 0.0); };
    return NamedValues{{"mask_AP", share(result->mask.stats[0])},
                       {"mask_AP50", share(result->mask.stats[1])},
                       {"box_AP", share(result->box.stats[0])},
                       {"box_AP50", share(result->box.stats[1])}};
  }

  std::string bad_layer() {
    const torch::NoGradGuard no_grad;
    if (!torch::isfinite(images_).all().item<bool>()) return "the images";
    const auto maps = model_->forward_maps(images_).named();
    updater_.restore_buffers();
    for (const auto& [name, map] : maps) {
      if (!torch::isfinite(map).all().item<bool>()) return name;
    }
    return {};
  }

  nlohmann::ordered_json facts() const {
    return {{"variant", recipe_.model.variant},
            {"parameters", count_parameters(model_->architecture())},
            {"validation_images", validation_.size()}};
  }

  const Recipe& recipe_;
  const data::DetectionDataset& validation_;
  const RunOptions& options_;
  RunIdentity identity_;
  std::vector<std::string> problems_;  ///< of both data sets
  StepSchedule schedule_;
  at::Generator generator_;
  DetectionBatches batches_;
  nn::Detector model_;
  nn::Detector average_;  ///< null without EMA
  Updater updater_;
  torch::Tensor images_;  ///< of the last pass
};

}  // namespace

DetectorArchitecture detector_of(const Recipe& recipe, std::int64_t classes) {
  const std::int64_t channels = recipe.detection.channels;
  DetectorArchitecture architecture{.backbone = backbone_of(recipe),
                                    .num_classes = classes,
                                    .channels = channels,
                                    .rpn_channels = channels,
                                    .fc_channels = recipe.detection.fc_channels,
                                    .mask_channels = channels};
  validate(architecture);
  return architecture;
}

RunResult train_detection(const Recipe& recipe, const data::DetectionDataset& training,
                          const data::DetectionDataset& validation, const RunOptions& options) {
  validate(recipe);
  refuse_classifiers_options(recipe, options);
  if (training.classes != validation.classes) {
    fail("the training data has {} categories, the validation data {}, or in another order",
         training.classes.size(), validation.classes.size());
  }
  return DetectionRun(recipe, training, validation, options).execute();
}

}  // namespace spatialmamba::train
