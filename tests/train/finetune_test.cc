// Fine-tuning: recipes chosen from the data, learning rates by depth, frozen stages.
#include "train/finetune.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nn/initialise.h"
#include "nn/state_dict.h"
#include "train/layer_decay.h"
#include "train/learner.h"
#include "train/plan.h"

namespace spatialmamba::train {
namespace {

const Architecture kTwoStages{
    .variant = "custom", .dims = {8, 16}, .depths = {1, 2}, .in_channels = 3, .num_classes = 3};

TEST(LayerDecay, RatesFallFromTheHeadToTheStem) {
  const auto scale = [](const char* name) { return layer_rate_scale(name, kTwoStages, 0.5); };
  EXPECT_EQ(scale("head.weight"), 1.0);
  EXPECT_EQ(scale("norm.bias"), 1.0);
  EXPECT_EQ(scale("layers.1.blocks.1.mlp.fc1.weight"), 0.5);
  EXPECT_EQ(scale("layers.1.blocks.0.mlp.fc1.weight"), 0.25);
  EXPECT_EQ(scale("layers.0.downsample.conv.0.conv.weight"), 0.125);
  EXPECT_EQ(scale("layers.0.blocks.0.ln_1.weight"), 0.125);
  EXPECT_EQ(scale("patch_embed.conv1.conv.weight"), 0.0625);
  EXPECT_EQ(layer_rate_scale("patch_embed.conv1.conv.weight", kTwoStages, 1.0), 1.0);
}

Learner learner_with(double layer_decay, std::int64_t frozen_stages) {
  nn::SpatialMamba model(kTwoStages);
  nn::initialise(*model, 4);
  LearnerOptions options;
  options.schedule = {
      .base_rate = 1e-2, .warmup_rate = 1e-2, .minimum_rate = 1e-2, .total_updates = 10, .warmup_updates = 0};
  options.adamw.weight_decay = 0.0;
  options.clip_norm = 0.0;
  options.layer_decay = layer_decay;
  options.frozen_stages = frozen_stages;
  return {model, options};
}

/// What one update changes in each tensor at most.
std::map<std::string, double> changes(Learner learner) {
  std::map<std::string, torch::Tensor> before;
  for (const auto& [name, tensor] : nn::named_state(*learner.model())) before[name] = tensor.detach().clone();
  torch::manual_seed(2);
  learner.accumulate(torch::randn({3, 3, 16, 16}), torch::one_hot(torch::arange(3), 3).to(torch::kFloat32),
                     false);
  learner.update();
  std::map<std::string, double> changed;
  for (const auto& [name, tensor] : nn::named_state(*learner.model())) {
    changed[name] = (tensor.detach() - before[name]).abs().max().to(torch::kFloat64).item<double>();
  }
  return changed;
}

/// Adam's first step is the learning rate, whatever the gradient.
TEST(LayerDecay, ReachesTheOptimizer) {
  const auto changed = changes(learner_with(0.5, 0));
  EXPECT_NEAR(changed.at("head.weight"), 1e-2, 1e-4);
  EXPECT_NEAR(changed.at("layers.1.blocks.1.mlp.fc2.weight"), 5e-3, 1e-4);
  EXPECT_NEAR(changed.at("layers.0.blocks.0.mlp.fc2.weight"), 1.25e-3, 1e-4);
}

TEST(FrozenStages, KeepWeightsAndRunningStatistics) {
  const auto changed = changes(learner_with(1.0, 1));
  int frozen = 0;
  for (const auto& [name, change] : changed) {
    const bool first = name.starts_with("patch_embed.") || name.starts_with("layers.0.");
    if (first) {
      EXPECT_EQ(change, 0.0) << name;
    }
    frozen += first;
  }
  EXPECT_GT(frozen, 0);
  EXPECT_GT(changed.at("layers.1.blocks.0.mlp.fc2.weight"), 0.0);
  const auto all = changes(learner_with(1.0, 0));
  EXPECT_GT(all.at("patch_embed.conv1.norm.running_mean"), 0.0);
}

TEST(Finetune, RecipesFitTheData) {
  const std::map<std::string, std::string> metadata = {
      {"size", "32x48"}, {"mean", "[0.5,0.4,0.3]"}, {"crop", "1"}, {"interpolation", "bilinear"}};
  const Recipe few = finetune_recipe(kTwoStages, metadata, "w", std::vector<std::int64_t>{40, 40, 30});
  EXPECT_THAT(few.data.size, testing::ElementsAre(32, 48));
  EXPECT_THAT(few.data.mean, testing::ElementsAre(0.5, 0.4, 0.3));
  EXPECT_EQ(few.data.interpolation, "bilinear");
  EXPECT_EQ(few.model.variant, "custom");
  EXPECT_EQ(few.train.frozen_stages, 1);
  EXPECT_EQ(few.augment.mixup, 0.0);
  EXPECT_FALSE(few.data.balance);
  const Recipe many =
      finetune_recipe(architecture_of("tiny"), {}, "w", std::vector<std::int64_t>{30'000, 900, 0});
  EXPECT_EQ(many.model.variant, "tiny");
  EXPECT_LT(many.train.epochs, few.train.epochs);
  EXPECT_GT(many.train.batch, few.train.batch);
  EXPECT_EQ(many.train.frozen_stages, 0);
  EXPECT_TRUE(many.data.balance);
  EXPECT_THROW(finetune_recipe(kTwoStages, {{"size", "big"}}, "w", std::vector<std::int64_t>{40}), Error);
}

/// Whatever the number of images, the recipe can be carried out.
TEST(Finetune, RecipesOfAnySizeMakePlans) {
  for (const std::int64_t images : {2, 3, 7, 50, 999, 1000, 12'345, 1'000'000}) {
    const Recipe recipe = finetune_recipe(kTwoStages, {}, "w", std::vector<std::int64_t>{images});
    EXPECT_NO_THROW(make_plan(recipe, {"a", "b"}, images)) << images;
  }
  Recipe frozen;
  frozen.train.frozen_stages = 9;
  EXPECT_THROW(make_plan(frozen, {"a", "b"}, 1000), UsageError);
}

}  // namespace
}  // namespace spatialmamba::train
