// The whole network against the official implementation: stages, logits and gradients of a small model, and
// the full-size variants through generated weights.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "nn/golden_tensors.h"
#include "nn/spatial_mamba.h"
#include "nn/state_dict.h"
#include "spatialmamba/weights.h"
#include "support/full_model.h"

namespace spatialmamba::test {
namespace {

using nn::SpatialMamba;

constexpr double kZeroGradient = 1e-5;

SpatialMamba nano_model(torch::ScalarType type, const nn::ModelOptions& options = {}) {
  const Weights weights = read_safetensors(golden("classification/nano/nano_weights.safetensors"));
  SpatialMamba model(infer_architecture(weights.tensors), options);
  model->to(type);
  nn::load_weights(*model, weights.tensors, "nano_weights");
  return model;
}

TEST(NanoModel, EveryStageInEvaluation) {
  const Weights file = read_safetensors(golden("classification/nano/nano_eval.safetensors"));
  for (const TypedTolerance run :
       {TypedTolerance{torch::kFloat64, 1e-11}, TypedTolerance{torch::kFloat32, 5e-6}}) {
    const torch::NoGradGuard no_grad;
    SpatialMamba model = nano_model(run.type);
    model->eval();
    for (const std::string& name : cases_of(file.tensors)) {
      SCOPED_TRACE(name + " " + c10::toString(run.type));
      const GoldenCase golden_case(file.tensors, name + "/");
      const GoldenCase truth = golden_case.below("f64");
      int compared = 0;
      for (const auto& [stage, actual] :
           model->forward_stages(golden_case.get("input", run.type), true).named()) {
        if (!truth.has(stage)) continue;
        EXPECT_LE(deviation(actual, truth.get(stage, torch::kFloat64)), run.tolerance) << stage;
        ++compared;
      }
      EXPECT_GT(compared, 0);
      EXPECT_EQ(static_cast<std::size_t>(compared), truth.names().size());
    }
  }
}

TEST(NanoModel, TrainingGradients) {
  const Weights file = read_safetensors(golden("classification/nano/nano_train_grads.safetensors"));
  const GoldenCase truth(file.tensors, "");
  for (const TypedTolerance run :
       {TypedTolerance{torch::kFloat64, 1e-6}, TypedTolerance{torch::kFloat32, 5e-5}}) {
    for (const bool checkpoint : {false, true}) {
      SCOPED_TRACE(std::string(c10::toString(run.type)) + (checkpoint ? " checkpointed" : ""));
      SpatialMamba model = nano_model(run.type, {.checkpoint_blocks = checkpoint});
      model->train();
      const torch::Tensor input = truth.get("input", run.type).requires_grad_();
      const torch::Tensor logits = model->forward(input);
      const torch::Tensor loss =
          torch::nn::functional::cross_entropy(logits, truth.get("target", torch::kInt64));
      loss.backward();
      EXPECT_LE(deviation(loss.view({1}), truth.get("loss", torch::kFloat64)), run.tolerance);
      EXPECT_LE(deviation(logits, truth.get("logits", torch::kFloat64)), run.tolerance);
      EXPECT_LE(deviation(input.grad(), truth.get("dinput", torch::kFloat64)), run.tolerance);
      expect_gradients(*model, truth.below("grad"), run.tolerance, kZeroGradient);
      expect_buffers(*model, truth.below("after"), run.tolerance);
    }
  }
}

class FullModel : public testing::TestWithParam<const char*> {};

/// Every golden of the variant that is at hand, in both types.
TEST_P(FullModel, StagesAndLogits) {
  const std::vector<std::filesystem::path> files = full_model_files(GetParam());
  if (files.empty()) GTEST_SKIP() << "no golden of variant " << GetParam();
  for (const std::filesystem::path& path : files) {
    const FullModelCase golden_model = full_model_case(path);
    for (const TypedTolerance run :
         {TypedTolerance{torch::kFloat64, 1e-11}, TypedTolerance{torch::kFloat32, 2e-5}}) {
      SCOPED_TRACE(golden_model.name + " " + c10::toString(run.type));
      const torch::NoGradGuard no_grad;
      SpatialMamba model(golden_model.architecture);
      model->to(run.type);
      nn::load_weights(*model, golden_model.weights, golden_model.name);
      model->eval();
      const nn::Stages stages = model->forward_stages(nn::to_torch(golden_model.input).to(run.type));
      for (const auto& [stage, map] : stages.named()) {
        expect_stage(golden_model, stage, nn::from_torch(map), run.tolerance);
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, FullModel, testing::Values("tiny", "small", "base"));

}  // namespace
}  // namespace spatialmamba::test
