// The ablations compute what they say, after any number of updates.
#include "train/fusion_ablation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "nn/initialise.h"
#include "nn/state_dict.h"
#include "train/learner.h"

namespace spatialmamba::train {
namespace {

constexpr const char* kAblated = "layers.0.blocks.0";

Learner ablated_learner(Fusion fusion) {
  nn::SpatialMamba model(Architecture{
      .variant = "custom", .dims = {8, 16}, .depths = {1, 1}, .in_channels = 3, .num_classes = 3});
  nn::initialise(*model, 6);
  LearnerOptions options;
  options.schedule = {
      .base_rate = 1e-2, .warmup_rate = 1e-2, .minimum_rate = 1e-2, .total_updates = 10, .warmup_updates = 0};
  options.fusion = fusion;
  Learner learner(model, options);
  torch::manual_seed(1);
  for (int i = 0; i < 3; ++i) {
    learner.accumulate(torch::randn({3, 3, 16, 16}), torch::one_hot(torch::arange(3), 3).to(torch::kFloat32),
                       false);
    learner.update();
  }
  return learner;
}

torch::Tensor fusion_tensor(Learner& learner, const std::string& name) {
  for (const auto& [full, tensor] : nn::named_state(*learner.model())) {
    if (full == std::string(kAblated) + ".self_attention.state_fusion." + name) return tensor.detach();
  }
  return {};
}

TEST(FusionAblation, OffPassesTheStatesOn) {
  Learner learner = ablated_learner(Fusion::off);
  for (const nn::BlockStates& states : learner.model()->record_states(torch::randn({1, 3, 16, 16}))) {
    EXPECT_TRUE(torch::equal(states.before, states.after)) << states.name;
  }
}

TEST(FusionAblation, LeftOutDilationsStayOut) {
  for (const auto& [fusion, dilations] : {std::pair{Fusion::dilation_1, 1}, {Fusion::dilation_1_3, 2}}) {
    Learner learner = ablated_learner(fusion);
    const torch::Tensor alpha = fusion_tensor(learner, "alpha");
    EXPECT_EQ(alpha.slice(0, dilations).abs().max().item<float>(), 0.0F);
    EXPECT_NE(alpha[dilations - 1].item<float>(), 1.0F) << "what takes part must learn";
  }
}

TEST(FusionAblation, SharedKernelsStayOne) {
  Learner learner = ablated_learner(Fusion::shared);
  const torch::Tensor first = fusion_tensor(learner, "kernel_3");
  EXPECT_TRUE(torch::equal(first, fusion_tensor(learner, "kernel_3_1")));
  EXPECT_TRUE(torch::equal(first, fusion_tensor(learner, "kernel_3_2")));
  EXPECT_GT((first - 1).abs().max().item<float>(), 0.0F);
  Learner full = ablated_learner(Fusion::full);
  EXPECT_FALSE(torch::equal(fusion_tensor(full, "kernel_3"), fusion_tensor(full, "kernel_3_1")));
}

TEST(FusionAblation, NamesAreKnown) {
  EXPECT_EQ(fusion_from_name("shared"), Fusion::shared);
  EXPECT_THROW(fusion_from_name("none"), UsageError);
}

}  // namespace
}  // namespace spatialmamba::train
