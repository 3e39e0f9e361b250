#include "train/segmentation_trainer.h"

#include <deque>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "train/iteration_model.h"
#include "train/run_state.h"
#include "train/schedule.h"
#include "train/segmentation_batches.h"
#include "train/segmentation_evaluate.h"
#include "train/segmentation_loss.h"
#include "train/segmentation_model.h"

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

nn::Segmentor make_model(const Recipe& recipe, std::int64_t classes, const RunOptions& options,
                         bool resumes) {
  nn::Segmentor model(train::segmentor_of(recipe, classes), model_options(recipe));
  nn::initialise(*model, recipe.train.seed);
  if (!options.finetune.empty() && !resumes) {
    start_from(*model, read_start(options).tensors, options.finetune.string(), options.say);
  }
  model->set_dropout(recipe.segmentation.dropout);
  return model;
}

class SegmentationRun {
 public:
  SegmentationRun(const RunStart& start, const data::SegmentationDataset& training,
                  const data::SegmentationDataset& validation, const RunOptions& options)
      : recipe_(start.recipe),
        resumes_(start.resumes),
        validation_(validation),
        options_(options),
        identity_{to_yaml(recipe_), training.classes, training.size()},
        problems_(training.problems),
        schedule_(schedule_of(recipe_)),
        cut_(cut_update(recipe_, options.processes())),
        trained_(make_model(recipe_, std::ssize(training.classes), options, resumes_), recipe_, cut_,
                 options) {
    problems_.insert(problems_.end(), validation.problems.begin(), validation.problems.end());
    for (const ReplicaShare& share : own_shares(cut_, options)) {
      batches_.emplace_back(training, recipe_, share, options.strict);
    }
  }

  RunResult execute() {
    const IterationTask task = task_of(*this, trained_.updater());
    return run_iterations(task, iteration_plan(recipe_), identity_, options_, resumes_);
  }

  double learning_rate(std::int64_t number) const { return schedule_.at(number); }
  const std::vector<std::string>& problems() const { return problems_; }
  std::map<std::string, std::string> description() const {
    return description_of(recipe_, identity_.classes, recipe_.segmentation.fit);
  }

  IterationStep step(std::int64_t number) {
    trained_.model()->train();
    return make_passes(trained_.updater(), number,
                       {"loss", "decode_loss", "auxiliary_loss", "pixel_accuracy"},
                       [this](const Pass& pass, IterationStep& step) { return losses_of(pass, step); });
  }

  std::optional<NamedValues> evaluate(bool average, const std::function<bool()>& stop,
                                      std::vector<std::string>& skipped) {
    const SegmentationEvaluateOptions how{.predict = predict_options(recipe_),
                                          .strict = options_.strict,
                                          .label = average ? "evaluate EMA" : "evaluate",
                                          .share = evaluation_share(options_),
                                          .stop = stop};
    const auto result = evaluate_segmentation(network_of(trained_.network(average)), validation_, how);
    if (!result) return std::nullopt;
    skipped = result->skipped;
    scores_ = result->meter.scores();
    return NamedValues{
        {"mIoU", scores_.mean_iou}, {"mAcc", scores_.mean_accuracy}, {"aAcc", scores_.pixel_accuracy}};
  }

  std::string bad_layer() {
    return first_non_finite(images_, trained_.updater(), [this](const torch::Tensor& images) {
      return trained_.model()->forward_maps(images, true).named();
    });
  }

  nlohmann::ordered_json facts() const {
    nlohmann::ordered_json per_class;
    for (std::size_t c = 0; c < identity_.classes.size(); ++c) {
      nlohmann::ordered_json& entry = per_class[identity_.classes[c]];
      if (scores_.iou[c]) entry = *scores_.iou[c];
    }
    return {{"variant", recipe_.model.variant},
            {"parameters", count_parameters(trained_.model()->architecture())},
            {"validation_images", validation_.size()},
            {"per_class_iou", per_class}};
  }

 private:
  PassLoss losses_of(const Pass& pass, IterationStep& step) {
    const Stopwatch waiting;
    const data::Batch& batch = batches_[static_cast<std::size_t>(pass.own)].at(pass.batch);
    step.wait_seconds += waiting.seconds();
    step.images += batch.n;
    step.skipped.insert(step.skipped.end(), batch.skipped.begin(), batch.skipped.end());
    trained_.draw_from(pass);
    const SegmentationTensors tensors = tensors_of(batch, element_type(recipe_));
    images_ = tensors.images;
    const SegmentationLoss loss = segmentation_loss(trained_.model()->forward_maps(tensors.images, true),
                                                    tensors.labels, recipe_.segmentation.auxiliary_weight);
    return {loss.total, {loss.decode, loss.auxiliary, loss.decode_accuracy / 100.0}};
  }

  Recipe recipe_;
  bool resumes_;
  const data::SegmentationDataset& validation_;
  const RunOptions& options_;
  RunIdentity identity_;
  std::vector<std::string> problems_;  ///< of both data sets
  PolySchedule schedule_;
  Cut cut_;
  IterationModel<nn::Segmentor> trained_;
  std::deque<SegmentationBatches> batches_;  ///< of each replica of this process
  torch::Tensor images_;                     ///< of the last pass
  metrics::SegmentationScores scores_;       ///< of the last evaluation
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
  return SegmentationRun(start_run(recipe, options), training, validation, options).execute();
}

}  // namespace spatialmamba::train
