// What a learner does with a step that cannot be used: nothing, wholly.
#include "train/learner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nn/initialise.h"
#include "nn/state_dict.h"

namespace spatialmamba::train {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kTargetClasses = 3;

Learner cautious_learner(double loss_limit = 1e4) {
  nn::SpatialMamba model(Architecture{.variant = "custom",
                                      .dims = {8, 16},
                                      .depths = {1, 1},
                                      .in_channels = 3,
                                      .num_classes = kTargetClasses});
  nn::initialise(*model, 3);
  LearnerOptions options;
  options.schedule = {.base_rate = 1e-3,
                      .warmup_rate = 1e-3,
                      .minimum_rate = 1e-3,
                      .total_updates = 100,
                      .warmup_updates = 0};
  options.accumulation = 2;
  options.ema_decay = 0.5;
  options.loss_limit = loss_limit;
  return {model, options};
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

}  // namespace
}  // namespace spatialmamba::train
