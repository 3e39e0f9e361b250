#include "train/plan.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "train/recipe_parts.h"
#include "train/replicas.h"

namespace spatialmamba::train {
namespace {

Architecture make_architecture(const Recipe& recipe, std::int64_t classes) {
  Architecture architecture = variant_of(recipe);
  architecture.in_channels = recipe.data.channels;
  architecture.num_classes = classes;
  architecture.mesa = recipe.train.mesa.value_or(architecture.mesa);
  return architecture;
}

data::TrainTransform make_train_transform(const Recipe& recipe, const image::EvalTransform& evaluation) {
  const Recipe::Augment& augment = recipe.augment;
  data::TrainTransform transform;
  transform.format = evaluation.format;
  transform.filter = evaluation.filter;
  transform.crop = augment.crop == "padded" ? data::CropMode::padded : data::CropMode::random_resized;
  transform.resized_crop = {.min_area = augment.area[0],
                            .max_area = augment.area[1],
                            .min_ratio = augment.ratio[0],
                            .max_ratio = augment.ratio[1]};
  transform.padding = static_cast<int>(augment.padding);
  transform.flip_probability = augment.flip;
  transform.rand_augment = {.layers = static_cast<int>(augment.rand_layers),
                            .magnitude = augment.rand_magnitude,
                            .deviation = augment.rand_deviation,
                            .probability = augment.rand_probability};
  transform.color_jitter = {
      .brightness = augment.brightness, .contrast = augment.contrast, .saturation = augment.saturation};
  transform.erasing.probability = augment.erasing;
  transform.erasing.min_area = augment.erasing_area[0];
  transform.erasing.max_area = augment.erasing_area[1];
  data::validate(transform);
  return transform;
}

CosineSchedule make_schedule(const Recipe& recipe, std::int64_t updates_per_epoch) {
  const auto updates = static_cast<double>(updates_per_epoch);
  return {.base_rate = scaled_rate(recipe, recipe.optimizer.rate),
          .warmup_rate = scaled_rate(recipe, recipe.optimizer.warmup_rate),
          .minimum_rate = scaled_rate(recipe, recipe.optimizer.minimum_rate),
          .total_updates = recipe.train.epochs * updates_per_epoch,
          .warmup_updates = static_cast<std::int64_t>(recipe.optimizer.warmup_epochs * updates)};
}

LearnerOptions make_learner_options(const Recipe& recipe, const Cut& cut, double mesa,
                                    std::int64_t updates_per_epoch) {
  return {.adamw = adamw_options(recipe),
          .schedule = make_schedule(recipe, updates_per_epoch),
          .clip_norm = recipe.train.clip_norm,
          .accumulation = recipe.train.accumulation,
          .replicas = cut.replicas,
          .sync_batch_norm = recipe.train.sync_batch_norm,
          .ema = recipe.train.ema,
          .ema_decay = recipe.train.ema_decay,
          .mesa = mesa,
          .loss_limit = recipe.train.loss_limit,
          .loss_scale = loss_scale_options(recipe),
          .layer_decay = recipe.optimizer.layer_decay,
          .fusion = fusion_from_name(recipe.model.fusion),
          .frozen_stages = recipe.train.frozen_stages};
}

std::string side_text(const image::InputFormat& format) {
  return format.height == format.width ? fmt::format("{}", format.height)
                                       : fmt::format("{}x{}", format.height, format.width);
}

Description describe(const Recipe& recipe, const image::InputFormat& format,
                     const std::vector<std::string>& classes) {
  Description description = {{"task", "classification"},
                             {"variant", recipe.model.variant},
                             {"classes", nlohmann::json(classes).dump()},
                             {"size", side_text(format)},
                             {"mean", nlohmann::json(recipe.data.mean).dump()},
                             {"std", nlohmann::json(recipe.data.std).dump()},
                             {"crop", fmt::format("{}", recipe.data.eval_crop)},
                             {"interpolation", recipe.data.interpolation}};
  if (scan_order_from_name(recipe.model.scan) != ScanOrder::row) description[kScanEntry] = recipe.model.scan;
  return description;
}

std::int64_t count_updates(const Recipe& recipe, const data::LoaderOptions& loader, std::int64_t images) {
  const std::int64_t updates = data::batch_count(images, loader) / (loader.share.run * loader.share.replicas);
  if (updates < 1) {
    fail_usage(
        "there are {} training images, fewer than the {} that one update takes: train.batch {} x "
        "train.accumulation {} x train.replicas {}",
        images, images_per_update(recipe), recipe.train.batch, recipe.train.accumulation,
        replicas_of(recipe));
  }
  return updates;
}

}  // namespace

Plan make_plan(const Recipe& recipe, const std::vector<std::string>& classes, std::int64_t train_images,
               std::int64_t processes) {
  validate(recipe);
  if (classes.size() < 2) {
    fail_usage(
        "the training data has {} classes, expected at least 2: is it the folder above the class folders?",
        classes.size());
  }
  Plan plan;
  plan.architecture = make_architecture(recipe, static_cast<std::int64_t>(classes.size()));
  plan.model = model_options(recipe);
  plan.element_type = element_type(recipe);
  plan.eval_transform = {.format = input_format(recipe.data),
                         .crop = recipe.data.eval_crop,
                         .filter = image::filter_from_name(recipe.data.interpolation)};
  if (recipe.train.frozen_stages > plan.architecture.stages()) {
    fail_usage("train.frozen_stages is {}, the model has {} stages", recipe.train.frozen_stages,
               plan.architecture.stages());
  }
  plan.train_transform = make_train_transform(recipe, plan.eval_transform);
  plan.mixup = {.mixup_alpha = recipe.augment.mixup,
                .cutmix_alpha = recipe.augment.cutmix,
                .probability = recipe.augment.mix_probability,
                .switch_probability = recipe.augment.cutmix_share};
  data::validate(plan.mixup);
  const Cut cut = cut_update(recipe, processes);
  plan.train_loader = {
      .batch_size = cut.batch,
      .seed = recipe.train.seed,
      .shuffle = true,
      .drop_last = true,
      .threads = static_cast<int>(recipe.data.workers),
      .share = {.processes = processes, .replicas = cut.replicas, .run = recipe.train.accumulation}};
  plan.updates_per_epoch = count_updates(recipe, plan.train_loader, train_images);
  plan.learner = make_learner_options(recipe, cut, plan.architecture.mesa, plan.updates_per_epoch);
  plan.first_mesa_epoch =
      static_cast<std::int64_t>(recipe.train.mesa_start * static_cast<double>(recipe.train.epochs));
  plan.description = describe(recipe, plan.eval_transform.format, classes);
  return plan;
}

}  // namespace spatialmamba::train
