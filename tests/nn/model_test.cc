// The whole network against the official implementation: stages, logits and gradients of a small model, and
// the full-size variants through generated weights.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "nn/golden_tensors.h"
#include "nn/spatial_mamba.h"
#include "nn/state_dict.h"
#include "nn/ways.h"
#include "spatialmamba/weights.h"
#include "support/full_model.h"

namespace spatialmamba::test {
namespace {

using nn::SpatialMamba;

constexpr double kZeroGradient = 1e-5;

SpatialMamba nano_model(torch::ScalarType type, const Way& way, bool checkpoint = false) {
  const nn::ModelOptions options{.operators = way.operators, .checkpoint_blocks = checkpoint};
  const Weights weights = read_safetensors(golden("classification/nano/nano_weights.safetensors"));
  SpatialMamba model(infer_architecture(weights.tensors), options);
  model->to(type);
  model->to(way.device);
  nn::load_weights(*model, weights.tensors, "nano_weights");
  return model;
}

TEST(NanoModel, EveryStageInEvaluation) {
  const Weights file = read_safetensors(golden("classification/nano/nano_eval.safetensors"));
  const torch::NoGradGuard no_grad;
  const auto check = [&](TypedTolerance run, const Way& way) {
    SpatialMamba model = nano_model(run.type, way);
    model->eval();
    for (const std::string& name : cases_of(file.tensors)) {
      SCOPED_TRACE(fmt::format("{} {} {}", name, c10::toString(run.type), way.name()));
      const GoldenCase golden_case(file.tensors, name + "/");
      const GoldenCase truth = golden_case.below("f64");
      int compared = 0;
      const torch::Tensor input = golden_case.get("input", run.type).to(way.device);
      for (const auto& [stage, actual] : model->forward_stages(input, true).named()) {
        if (!truth.has(stage)) continue;
        EXPECT_LE(deviation(actual, truth.get(stage, torch::kFloat64)), run.tolerance) << stage;
        ++compared;
      }
      EXPECT_GT(compared, 0);
      EXPECT_EQ(static_cast<std::size_t>(compared), truth.names().size());
    }
  };
  for (const Way& way : ways()) {
    check({torch::kFloat64, 1e-11}, way);
    check({torch::kFloat32, 5e-6}, way);
  }
}

TEST(NanoModel, TrainingGradients) {
  const Weights file = read_safetensors(golden("classification/nano/nano_train_grads.safetensors"));
  const GoldenCase truth(file.tensors, "");
  const auto check = [&](TypedTolerance run, const Way& way, bool checkpoint) {
    SCOPED_TRACE(
        fmt::format("{} {}{}", c10::toString(run.type), way.name(), checkpoint ? " checkpointed" : ""));
    SpatialMamba model = nano_model(run.type, way, checkpoint);
    model->train();
    const torch::Tensor input = truth.get("input", run.type).to(way.device).requires_grad_();
    const torch::Tensor target = truth.get("target", torch::kInt64).to(way.device);
    const torch::Tensor logits = model->forward(input);
    const torch::Tensor loss = torch::nn::functional::cross_entropy(logits, target);
    loss.backward();
    EXPECT_LE(deviation(loss.view({1}), truth.get("loss", torch::kFloat64)), run.tolerance);
    EXPECT_LE(deviation(logits, truth.get("logits", torch::kFloat64)), run.tolerance);
    EXPECT_LE(deviation(input.grad(), truth.get("dinput", torch::kFloat64)), run.tolerance);
    expect_gradients(*model, truth.below("grad"), run.tolerance, kZeroGradient);
    expect_buffers(*model, truth.below("after"), run.tolerance);
  };
  for (const Way& way : ways()) {
    for (const bool checkpoint : {false, true}) {
      check({torch::kFloat64, 1e-6}, way, checkpoint);
      check({torch::kFloat32, 5e-5}, way, checkpoint);
    }
  }
}

/// Of one variant's golden, in one type and way.
void expect_full_model(const FullModelCase& golden_model, TypedTolerance run, const Way& way) {
  SCOPED_TRACE(fmt::format("{} {} {}", golden_model.name, c10::toString(run.type), way.name()));
  const torch::NoGradGuard no_grad;
  SpatialMamba model(golden_model.architecture, nn::ModelOptions{.operators = way.operators});
  model->to(run.type);
  model->to(way.device);
  nn::load_weights(*model, golden_model.weights, golden_model.name);
  model->eval();
  const torch::Tensor input = nn::to_torch(golden_model.input).to(run.type).to(way.device);
  for (const auto& [stage, map] : model->forward_stages(input).named()) {
    expect_stage(golden_model, stage, nn::from_torch(map), run.tolerance);
  }
}

class FullModel : public testing::TestWithParam<const char*> {};

/// Every golden of the variant that is at hand.
TEST_P(FullModel, StagesAndLogits) {
  const std::vector<std::filesystem::path> files = full_model_files(GetParam());
  if (files.empty()) GTEST_SKIP() << "no golden of variant " << GetParam();
  for (const std::filesystem::path& path : files) {
    const FullModelCase golden_model = full_model_case(path);
    // LibTorch's operators are slow in double; the nano model passes through them so.
    expect_full_model(golden_model, {torch::kFloat64, 1e-11}, ways().front());
    for (const Way& way : ways()) {
      expect_full_model(golden_model, {torch::kFloat32, 2e-5}, way);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, FullModel, testing::Values("tiny", "small", "base"));

}  // namespace
}  // namespace spatialmamba::test
