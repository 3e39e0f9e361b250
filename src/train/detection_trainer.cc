#include "train/detection_trainer.h"

#include <algorithm>
#include <deque>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "train/detection_batches.h"
#include "train/detection_evaluate.h"
#include "train/detection_model.h"
#include "train/iteration_model.h"
#include "train/run_state.h"
#include "train/schedule.h"

namespace spatialmamba::train {
namespace {

std::vector<int> sides_of(const std::vector<std::int64_t>& sides) {
  return {sides.begin(), sides.end()};
}

DetectionBatchOptions batch_options_of(const Recipe& recipe, const ReplicaShare& share, bool strict) {
  const Recipe::Detection& section = recipe.detection;
  DetectionBatchOptions batches{.transform = {},
                                .format = input_format(recipe.data),
                                .share = share,
                                .seed = recipe.train.seed,
                                .strict = strict};
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

nn::Detector make_model(const Recipe& recipe, std::int64_t classes, const RunOptions& options, bool resumes) {
  nn::Detector model(train::detector_of(recipe, classes), model_options(recipe));
  nn::initialise(*model, recipe.train.seed);
  if (!options.finetune.empty() && !resumes) {
    start_from(*model, read_start(options).tensors, options.finetune.string(), options.say);
  }
  return model;
}

class DetectionRun {
 public:
  DetectionRun(const RunStart& start, const data::DetectionDataset& training,
               const data::DetectionDataset& validation, const RunOptions& options)
      : recipe_(start.recipe),
        resumes_(start.resumes),
        validation_(validation),
        options_(options),
        identity_{to_yaml(recipe_), training.classes, training.size()},
        schedule_(schedule_of(recipe_)),
        cut_(cut_update(recipe_, options.processes())),
        trained_(make_model(recipe_, std::ssize(training.classes), options, resumes_), recipe_, cut_,
                 options) {
    for (const data::DetectionDataset* part : {&training, &validation}) {
      for (const std::string& problem : part->coco->problems) {
        problems_.push_back(fmt::format("{}: {}", part->coco->name, problem));
      }
    }
    for (const ReplicaShare& share : own_shares(cut_, options)) {
      batches_.emplace_back(training, batch_options_of(recipe_, share, options.strict));
    }
  }

  RunResult execute() {
    const IterationTask task = task_of(*this, trained_.updater());
    return run_iterations(task, iteration_plan(recipe_), identity_, options_, resumes_);
  }

  double learning_rate(std::int64_t number) const { return schedule_.at(number); }
  const std::vector<std::string>& problems() const { return problems_; }
  std::map<std::string, std::string> description() const {
    return description_of(recipe_, identity_.classes, recipe_.detection.fit);
  }

  IterationStep step(std::int64_t number) {
    trained_.model()->train();
    return make_passes(trained_.updater(), number,
                       {"loss", "loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask"},
                       [this](const Pass& pass, IterationStep& step) { return losses_of(pass, step); });
  }

  std::optional<NamedValues> evaluate(bool average, const std::function<bool()>& stop,
                                      std::vector<std::string>& skipped) {
    const DetectionEvaluateOptions how{.predict = predict_options(recipe_),
                                       .strict = options_.strict,
                                       .label = average ? "evaluate EMA" : "evaluate",
                                       .share = evaluation_share(options_),
                                       .stop = stop};
    const auto result = evaluate_detection(network_of(trained_.network(average)), validation_, how);
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
    return first_non_finite(images_, trained_.updater(), [this](const torch::Tensor& images) {
      return trained_.model()->forward_maps(images).named();
    });
  }

  nlohmann::ordered_json facts() const {
    return {{"variant", recipe_.model.variant},
            {"parameters", count_parameters(trained_.model()->architecture())},
            {"validation_images", validation_.size()}};
  }

 private:
  PassLoss losses_of(const Pass& pass, IterationStep& step) {
    const Stopwatch waiting;
    const DetectionBatch batch = batches_[static_cast<std::size_t>(pass.own)].at(pass.batch);
    step.wait_seconds += waiting.seconds();
    step.skipped.insert(step.skipped.end(), batch.skipped.begin(), batch.skipped.end());
    if (batch.targets.empty()) fail("no picture of a training batch can be read");
    step.images += std::ssize(batch.targets);
    trained_.draw_from(pass);
    nn::RandomChooser chooser(stream_of(recipe_.train.seed, Stream::boxes, pass.stream));
    images_ = batch.images.to(element_type(recipe_));
    const nn::DetectionLosses losses =
        nn::detection_losses(*trained_.model(), images_, batch.targets, training_of(recipe_), chooser);
    PassLoss result{losses.total(), {}};
    for (const auto& [name, value] : losses.named()) result.parts.push_back(value);
    return result;
  }

  Recipe recipe_;
  bool resumes_;
  const data::DetectionDataset& validation_;
  const RunOptions& options_;
  RunIdentity identity_;
  std::vector<std::string> problems_;  ///< of both data sets
  StepSchedule schedule_;
  Cut cut_;
  IterationModel<nn::Detector> trained_;
  std::deque<DetectionBatches> batches_;  ///< of each replica of this process
  torch::Tensor images_;                  ///< of the last pass
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
  return DetectionRun(start_run(recipe, options), training, validation, options).execute();
}

}  // namespace spatialmamba::train
