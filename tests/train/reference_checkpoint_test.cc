// Continuing a run of the reference's own training code from the .pth that it saved.
#include "train/reference_checkpoint.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "nn/state_dict.h"
#include "support/golden.h"
#include "weights/checkpoint.h"

namespace spatialmamba::train {
namespace {

constexpr const char* kCheckpoint = "classification/nano/latest_ckpt.pth";

Learner fresh_learner(const Architecture& architecture,
                      const std::optional<LossScaleOptions>& loss_scale = std::nullopt) {
  LearnerOptions options;
  options.loss_scale = loss_scale;
  options.schedule.total_updates = 100;
  return {nn::SpatialMamba(architecture), options};
}

TEST(ReferenceCheckpoint, ModelAverageMomentsAndPositionAreTakenOver) {
  if (!test::has_golden(kCheckpoint))
    GTEST_SKIP() << "this golden set carries no checkpoint with optimizer state";
  const auto path = test::golden(kCheckpoint);
  const auto facts = nlohmann::json::parse(read_text(test::golden("classification/train/trace.json")));
  const Weights model = read_pth(path, "model");
  const Weights ema = read_pth(path, "model_ema");
  Learner learner = fresh_learner(infer_architecture(model.tensors));
  EXPECT_EQ(load_reference_checkpoint(path, learner), facts.at("epochs_run"));

  const std::int64_t micro_batches =
      facts.at("epochs_run").get<std::int64_t>() * facts.at("micro_batches_per_epoch").get<std::int64_t>();
  EXPECT_EQ(learner.updates(), micro_batches / facts.at("accumulation_steps").get<std::int64_t>());
  for (const auto& [name, tensor] : nn::named_state(*learner.model())) {
    EXPECT_TRUE(torch::equal(tensor, nn::to_torch(model.tensors.at(name)))) << name;
  }
  for (const auto& [name, tensor] : nn::named_state(*learner.ema_model())) {
    EXPECT_TRUE(torch::equal(tensor, nn::to_torch(ema.tensors.at(name)))) << name;
  }
  // The optimizer numbers the decaying parameters first, then the others.
  Checkpoint file = Checkpoint::open(path);
  const auto& slots = learner.optimizer().slots();
  const auto states = file.root().find("optimizer")->find("state")->entries();
  for (const auto& [number, state] : *states) {
    const AdamW::Slot& slot = slots.at(static_cast<std::size_t>(number->integer().value()));
    EXPECT_TRUE(torch::equal(slot.mean, nn::to_torch(file.tensor(*state->find("exp_avg"), "exp_avg"))))
        << slot.name;
    EXPECT_TRUE(
        torch::equal(slot.variance, nn::to_torch(file.tensor(*state->find("exp_avg_sq"), "exp_avg_sq"))))
        << slot.name;
  }
}

TEST(ReferenceCheckpoint, ItsLossScaleIsTakenOverWhereLossesAreScaled) {
  if (!test::has_golden(kCheckpoint))
    GTEST_SKIP() << "this golden set carries no checkpoint with optimizer state";
  const auto path = test::golden(kCheckpoint);
  const Architecture architecture = infer_architecture(read_pth(path, "model").tensors);
  Learner scaled = fresh_learner(architecture, LossScaleOptions{.initial = 3.0});
  load_reference_checkpoint(path, scaled);
  const Checkpoint file = Checkpoint::open(path);
  const pickle::Value* scaler = file.root().find("scaler");
  ASSERT_NE(scaler, nullptr);
  const LossScale::State& state = scaled.updater().loss_scale()->state();
  EXPECT_EQ(state.value, scaler->find("scale")->number());
  EXPECT_EQ(state.good_updates, scaler->find("_growth_tracker")->integer());
  EXPECT_NE(state.value, 3.0);

  Learner unscaled = fresh_learner(architecture);
  load_reference_checkpoint(path, unscaled);
  EXPECT_FALSE(unscaled.updater().loss_scale().has_value());
}

TEST(ReferenceCheckpoint, OneWithoutOptimizerIsRefused) {
  const auto path = test::golden("classification/nano/pico_model_only.pth");
  Learner learner = fresh_learner(infer_architecture(read_pth(path).tensors));
  EXPECT_THROW(load_reference_checkpoint(path, learner), Error);
}

}  // namespace
}  // namespace spatialmamba::train
