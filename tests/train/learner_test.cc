// What a learner does with a step that cannot be used: nothing, wholly.
#include "train/learner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "nn/initialise.h"
#include "nn/state_dict.h"

namespace spatialmamba::train {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kTargetClasses = 3;

nn::SpatialMamba small_model(nn::Precision precision = nn::Precision::full) {
  nn::SpatialMamba model(Architecture{.variant = "custom",
                                      .dims = {8, 16},
                                      .depths = {1, 1},
                                      .in_channels = 3,
                                      .num_classes = kTargetClasses},
                         nn::ModelOptions{.precision = precision});
  nn::initialise(*model, 3);
  return model;
}

LearnerOptions small_options() {
  LearnerOptions options;
  options.schedule = {.base_rate = 1e-3,
                      .warmup_rate = 1e-3,
                      .minimum_rate = 1e-3,
                      .total_updates = 100,
                      .warmup_updates = 0};
  options.accumulation = 2;
  options.ema_decay = 0.5;
  return options;
}

Learner cautious_learner(double loss_limit = 1e4) {
  LearnerOptions options = small_options();
  options.loss_limit = loss_limit;
  return {small_model(), options};
}

Learner scaled_learner(const LossScaleOptions& scale, nn::Precision precision = nn::Precision::fp16,
                       double clip_norm = 5.0) {
  LearnerOptions options = small_options();
  options.clip_norm = clip_norm;
  options.loss_scale = scale;
  return {small_model(precision), options};
}

torch::Tensor random_images(std::uint64_t seed) {
  torch::manual_seed(seed);
  return torch::randn({4, 3, 16, 16});
}

torch::Tensor even_targets() {
  return torch::one_hot(torch::arange(4) % kTargetClasses, kTargetClasses).to(torch::kFloat32);
}

/// Weights, running statistics, averages and moments, copied.
std::vector<torch::Tensor> state_of(Learner& learner) {
  std::vector<torch::Tensor> state;
  for (nn::SpatialMamba* model : {&learner.model(), &learner.ema_model()}) {
    for (const auto& entry : nn::named_state(**model)) state.push_back(entry.second.detach().clone());
  }
  for (const AdamW::Slot& slot : learner.optimizer().slots()) {
    state.push_back(slot.mean.clone());
    state.push_back(slot.variance.clone());
  }
  return state;
}

bool same(const std::vector<torch::Tensor>& a, const std::vector<torch::Tensor>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const auto& x, const auto& y) { return x.equal(y); });
}

Update make_step(Learner& learner, const torch::Tensor& first, const torch::Tensor& second) {
  learner.accumulate(first, even_targets(), false);
  learner.accumulate(second, even_targets(), false);
  return learner.update();
}

TEST(UnusableSteps, AnUnusableStepLeavesNoTrace) {
  Learner learner = cautious_learner();
  Learner undisturbed = cautious_learner();
  make_step(learner, random_images(1), random_images(2));
  make_step(undisturbed, random_images(1), random_images(2));
  const auto before = state_of(learner);

  const torch::Tensor bad = torch::full({4, 3, 16, 16}, std::numeric_limits<float>::quiet_NaN());
  EXPECT_TRUE(learner.accumulate(random_images(3), even_targets(), false).usable);
  EXPECT_FALSE(learner.accumulate(bad, even_targets(), false).usable);
  EXPECT_THAT(learner.update().problem, HasSubstr("not a number"));
  EXPECT_TRUE(same(state_of(learner), before));
  EXPECT_EQ(learner.updates(), 1);

  EXPECT_EQ(make_step(learner, random_images(5), random_images(6)).problem, "");
  make_step(undisturbed, random_images(5), random_images(6));
  EXPECT_TRUE(same(state_of(learner), state_of(undisturbed)));
}

TEST(UnusableSteps, AnExplodedLossIsNotUsable) {
  Learner learner = cautious_learner(1e-3);
  const auto before = state_of(learner);
  const Update update = make_step(learner, random_images(1), random_images(2));
  EXPECT_THAT(update.problem, HasSubstr("above the limit of 0.001"));
  EXPECT_TRUE(same(state_of(learner), before));
  EXPECT_EQ(learner.first_non_finite_layer(), "");
}

TEST(UnusableSteps, NamesTheFirstLayerThatIsNotFinite) {
  for (const std::string layer : {"layers.1.blocks.0", "head"}) {
    Learner learner = cautious_learner();
    const std::string weight = layer == "head" ? "head.weight" : layer + ".mlp.fc2.weight";
    {
      const torch::NoGradGuard no_grad;
      for (auto& [name, tensor] : nn::named_state(*learner.model())) {
        if (name == weight) tensor.fill_(std::numeric_limits<float>::infinity());
      }
    }
    EXPECT_NE(make_step(learner, random_images(1), random_images(2)).problem, "");
    EXPECT_EQ(learner.first_non_finite_layer(), layer);
  }
}

/// Powers of two cost floats no bits: whatever looks at gradients must see them unscaled.
TEST(ScaledLosses, ScalingLeavesNoTraceInSinglePrecision) {
  for (const double clip_norm : {1e-2, 5.0}) {
    LearnerOptions unscaled = small_options();
    unscaled.clip_norm = clip_norm;
    Learner plain(small_model(), unscaled);
    Learner scaled = scaled_learner({.initial = 1024.0, .interval = 2}, nn::Precision::full, clip_norm);
    for (std::uint64_t step = 0; step < 6; ++step) {
      const Update expected = make_step(plain, random_images(step), random_images(step + 50));
      const Update update = make_step(scaled, random_images(step), random_images(step + 50));
      EXPECT_EQ(update.gradient_norm, expected.gradient_norm);
      EXPECT_EQ(update.clipped, clip_norm < 1.0);
      EXPECT_EQ(update.loss_scale, std::ldexp(1024.0, static_cast<int>(step) / 2));
      EXPECT_FALSE(expected.loss_scale.has_value());
    }
    EXPECT_TRUE(same(state_of(scaled), state_of(plain)));
  }
}

TEST(ScaledLosses, OverflowSkipsTheUpdateAndHalvesTheScale) {
  Learner learner = scaled_learner({.initial = 0x1p60});
  const auto before = state_of(learner);
  int overflows = 0;
  for (; overflows < 60; ++overflows) {
    const Update update = make_step(learner, random_images(1), random_images(2));
    if (update.problem.empty()) break;
    ASSERT_TRUE(update.overflowed) << update.problem;
    ASSERT_THAT(update.problem, HasSubstr("not finite"));
    ASSERT_EQ(update.loss_scale, std::ldexp(1.0, 60 - overflows));
    ASSERT_TRUE(same(state_of(learner), before));
  }
  EXPECT_GT(overflows, 10);
  EXPECT_LT(overflows, 60);
  EXPECT_FALSE(same(state_of(learner), before));
  EXPECT_EQ(learner.updates(), 1);
  EXPECT_EQ(learner.updater().loss_scale()->value(), std::ldexp(1.0, 60 - overflows));
  EXPECT_EQ(learner.updater().loss_scale()->state().good_updates, 1);
}

/// The forward pass does not see the scale, so no other scale would help.
TEST(ScaledLosses, ALossThatIsNotFiniteLeavesTheScale) {
  Learner learner = scaled_learner({});
  const torch::Tensor bad = torch::full({4, 3, 16, 16}, std::numeric_limits<float>::infinity());
  const Update update = make_step(learner, bad, bad);
  EXPECT_FALSE(update.problem.empty());
  EXPECT_FALSE(update.overflowed);
  EXPECT_EQ(learner.updater().loss_scale()->value(), LossScaleOptions{}.initial);
}

TEST(ScaledLosses, OverflowWithTheLeastScaleIsDivergence) {
  Learner learner = scaled_learner({.initial = 0x1p60, .least = 0x1p60});
  const Update update = make_step(learner, random_images(1), random_images(2));
  EXPECT_FALSE(update.overflowed);
  EXPECT_THAT(update.problem, HasSubstr("diverges"));
}

}  // namespace
}  // namespace spatialmamba::train
