#include "train/segmentation_trainer.h"

#include <ATen/CPUGeneratorImpl.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "train/iteration_run.h"
#include "train/model_values.h"
#include "train/recipe_parts.h"
#include "train/schedule.h"
#include "train/segmentation_batches.h"
#include "train/segmentation_evaluate.h"
#include "train/segmentation_loss.h"
#include "train/segmentation_model.h"
#include "weights/checksums.h"

namespace spatialmamba::train {
namespace {

PolySchedule schedule_of(const Recipe& recipe) {
  PolySchedule schedule{.base_rate = scaled_rate(recipe, recipe.optimizer.rate),
                        .warmup_factor = recipe.optimizer.warmup_factor,
                        .warmup_iterations = recipe.optimizer.warmup_iterations,
                        .total_iterations = recipe.train.iterations,
                        .power = recipe.optimizer.power};
  validate(schedule);
  return schedule;
}

segmentation::PredictOptions predict_options(const Recipe& recipe) {
  segmentation::PredictOptions options;
  options.long_side = static_cast<int>(recipe.segmentation.fit[0]);
  options.short_side = static_cast<int>(recipe.segmentation.fit[1]);
  options.format = input_format(recipe.data);
  return options;
}

class SegmentationRun {
 public:
  SegmentationRun(const Recipe& recipe, const data::SegmentationDataset& training,
                  const data::SegmentationDataset& validation, const RunOptions& options)
      : recipe_(recipe),
        validation_(validation),
        options_(options),
        identity_{to_yaml(recipe), training.classes, training.size()},
        problems_(training.problems),
        schedule_(schedule_of(recipe)),
        generator_(at::make_generator<at::CPUGeneratorImpl>(recipe.train.seed)),
        batches_(training, recipe, options.strict),
        model_(make_model()),
        average_(recipe.train.ema ? average_of(model_, model_options(recipe)) : nn::Segmentor(nullptr)),
        updater_(AdamW(group_by_norm(named_state(*model_)), adamw_options(recipe)), named_state(*model_),
                 average_ ? named_state(*average_) : NamedTensors{}, updater_options(recipe)) {
    problems_.insert(problems_.end(), validation.problems.begin(), validation.problems.end());
  }

  RunResult execute() {
    const IterationTask task{
        .updater = &updater_,
        .step = [this](std::int64_t number) { return step(number); },
        .evaluate = [this](bool average, const std::function<bool()>& stop,
                           std::vector<std::string>& skipped) { return evaluate(average, stop, skipped); },
        .learning_rate = [this](std::int64_t number) { return schedule_.at(number); },
        .bad_layer = [this] { return bad_layer(); },
        .description = description_of(recipe_, identity_.classes, recipe_.segmentation.fit),
        .problems = problems_,
        .facts = [this] { return facts(); },
    };
    return run_iterations(task, iteration_plan(recipe_), identity_, options_);
  }

 private:
  nn::Segmentor make_model() {
    const auto classes = static_cast<std::int64_t>(identity_.classes.size());
    nn::Segmentor model(train::segmentor_of(recipe_, classes), model_options(recipe_));
    nn::initialise(*model, recipe_.train.seed);
    if (!options_.finetune.empty()) {
      const Weights weights = read_weights(options_.finetune, options_.finetune_ema ? "model_ema" : "");
      verify_checksums(weights, options_.finetune.string());
      start_from(*model, weights.tensors, options_.finetune.string(), options_.say);
    }
    set_element_type(*model, element_type(recipe_));
    model->set_generator(generator_);
    model->set_dropout(recipe_.segmentation.dropout);
    return model;
  }

  IterationStep step(std::int64_t number) {
    IterationStep result{
        .losses = {{"loss", 0.0}, {"decode_loss", 0.0}, {"auxiliary_loss", 0.0}, {"pixel_accuracy", 0.0}}};
    model_->train();
    for (std::int64_t part = 0; part < recipe_.train.accumulation; ++part) {
      if (updater_.begin_pass()) pass(number * recipe_.train.accumulation + part, result);
    }
    return result;
  }

  /// Forward and, where the loss is usable, backward of one micro-batch.
  void pass(std::int64_t micro_batch, IterationStep& step) {
    const Stopwatch waiting;
    const data::Batch& batch = batches_.at(micro_batch);
    step.wait_seconds += waiting.seconds();
    step.images += batch.n;
    step.skipped.insert(step.skipped.end(), batch.skipped.begin(), batch.skipped.end());
    generator_.set_current_seed(stream_of(recipe_.train.seed, Stream::drop_path, micro_batch).bits());
    const SegmentationTensors tensors = tensors_of(batch, element_type(recipe_));
    images_ = tensors.images;
    const SegmentationLoss loss = segmentation_loss(model_->forward_maps(tensors.images, true),
                                                    tensors.labels, recipe_.segmentation.auxiliary_weight);
    if (!updater_.accept(loss.total.item<double>())) return;
    const auto parts = static_cast<double>(recipe_.train.accumulation);
    const torch::Tensor scaled = loss.total / parts;
    scaled.backward();
    step.losses[0].second += scaled.item<double>();
    step.losses[1].second += loss.decode / parts;
    step.losses[2].second += loss.auxiliary / parts;
    step.losses[3].second += loss.decode_accuracy / 100.0 / parts;
  }

  std::optional<NamedValues> evaluate(bool average, const std::function<bool()>& stop,
                                      std::vector<std::string>& skipped) {
    const SegmentationEvaluateOptions how{.predict = predict_options(recipe_),
                                          .strict = options_.strict,
                                          .label = average ? "evaluate EMA" : "evaluate",
                                          .stop = stop};
    const auto result = evaluate_segmentation(network_of(average ? *average_ : *model_), validation_, how);
    if (!result) return std::nullopt;
    skipped = result->skipped;
    scores_ = result->meter.scores();
    return NamedValues{
        {"mIoU", scores_.mean_iou}, {"mAcc", scores_.mean_accuracy}, {"aAcc", scores_.pixel_accuracy}};
  }

  std::string bad_layer() {
    const torch::NoGradGuard no_grad;
    if (!torch::isfinite(images_).all().item<bool>()) return "the images";
    const auto maps = model_->forward_maps(images_, true).named();
    updater_.restore_buffers();
    for (const auto& [name, map] : maps) {
      if (!torch::isfinite(map).all().item<bool>()) return name;
    }
    return {};
  }

  nlohmann::ordered_json facts() const {
    nlohmann::ordered_json per_class;
    for (std::size_t c = 0; c < identity_.classes.size(); ++c) {
      nlohmann::ordered_json& entry = per_class[identity_.classes[c]];
      if (scores_.iou[c]) entry = *scores_.iou[c];
    }
    return {{"variant", recipe_.model.variant},
            {"parameters", count_parameters(model_->architecture())},
            {"validation_images", validation_.size()},
            {"per_class_iou", per_class}};
  }

  const Recipe& recipe_;
  const data::SegmentationDataset& validation_;
  const RunOptions& options_;
  RunIdentity identity_;
  std::vector<std::string> problems_;  ///< of both data sets
  PolySchedule schedule_;
  at::Generator generator_;
  SegmentationBatches batches_;
  nn::Segmentor model_;
  nn::Segmentor average_;  ///< null without EMA
  Updater updater_;
  torch::Tensor images_;                ///< of the last pass
  metrics::SegmentationScores scores_;  ///< of the last evaluation
};

}  // namespace

SegmentorArchitecture segmentor_of(const Recipe& recipe, std::int64_t classes) {
  SegmentorArchitecture architecture{.backbone = backbone_of(recipe),
                                     .num_classes = classes,
                                     .channels = recipe.segmentation.channels,
                                     .auxiliary_channels = recipe.segmentation.auxiliary_channels};
  architecture.auxiliary_level = architecture.backbone.stages() - 2;
  validate(architecture);
  return architecture;
}

RunResult train_segmentation(const Recipe& recipe, const data::SegmentationDataset& training,
                             const data::SegmentationDataset& validation, const RunOptions& options) {
  validate(recipe);
  refuse_classifiers_options(recipe, options);
  if (training.classes != validation.classes) {
    fail("the training data has {} classes, the validation data {}, or in another order",
         training.classes.size(), validation.classes.size());
  }
  return SegmentationRun(recipe, training, validation, options).execute();
}

}  // namespace spatialmamba::train
