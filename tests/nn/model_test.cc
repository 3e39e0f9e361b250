// The whole network against the official implementation: stages, logits and gradients of a small model, and
// the full-size variants through generated weights.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <regex>

#include "nn/golden_tensors.h"
#include "nn/spatial_mamba.h"
#include "nn/state_dict.h"
#include "spatialmamba/weights.h"
#include "support/weightgen.h"

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

/// mean, standard deviation and greatest magnitude, and 64 evenly spread samples, as the goldens hold them.
void expect_summary(const torch::Tensor& actual, const GoldenCase& golden_case, double tolerance) {
  const torch::Tensor flat = actual.to(torch::kFloat64).contiguous().flatten();
  const torch::Tensor shape = golden_case.get("shape", torch::kInt64);
  EXPECT_TRUE(torch::equal(torch::tensor(actual.sizes(), torch::kInt64), shape)) << actual.sizes();
  const torch::Tensor stats = golden_case.get("stats", torch::kFloat64);
  const double largest = stats[2].item<double>();
  const torch::Tensor found = torch::stack({flat.mean(), flat.std(false), flat.abs().max()});
  EXPECT_LE((found - stats).abs().max().item<double>() / largest, tolerance);
  const torch::Tensor samples = golden_case.get("samples", torch::kFloat64);
  const std::int64_t n = samples.size(0);
  const torch::Tensor at =
      ((torch::arange(n, torch::kInt64) * 2 + 1) * flat.numel()).div(2 * n, "floor").to(torch::kInt64);
  EXPECT_LE((flat.index_select(0, at) - samples).abs().max().item<double>() / largest, tolerance);
}

class FullModel : public testing::TestWithParam<const char*> {};

/// Every golden of the variant that is at hand, in both types.
TEST_P(FullModel, StagesAndLogits) {
  static const std::regex kName("([a-z]+)_(\\d+)x(\\d+)x(\\d+)x(\\d+)\\.safetensors");
  const std::string variant = GetParam();
  int files = 0;
  for (const std::filesystem::path& path : golden_files("classification/full", ".safetensors")) {
    std::smatch match;
    const std::string name = path.filename().string();
    if (!std::regex_match(name, match, kName) || match[1] != variant) continue;
    ++files;
    const Weights file = read_safetensors(path);
    const std::uint64_t seed = std::stoull(file.metadata.at("seed"));
    Architecture architecture = architecture_of(variant);
    architecture.in_channels = std::stoll(match[3]);
    TensorMap weights;
    for (const TensorSpec& spec : tensor_specs(architecture)) {
      weights.add(spec.name, generate_weight(spec.name, spec.shape, seed));
    }
    const Shape shape = {std::stoll(match[2]), std::stoll(match[3]), std::stoll(match[4]),
                         std::stoll(match[5])};
    const std::string stream =
        "input:" + variant + ":" + name.substr(variant.size() + 1, name.find('.') - variant.size() - 1);
    const torch::Tensor input =
        nn::to_torch(Tensor::from(shape, generate_input(stream, seed, element_count(shape))));
    for (const TypedTolerance run :
         {TypedTolerance{torch::kFloat64, 1e-11}, TypedTolerance{torch::kFloat32, 2e-5}}) {
      SCOPED_TRACE(name + " " + c10::toString(run.type));
      const torch::NoGradGuard no_grad;
      SpatialMamba model(architecture);
      model->to(run.type);
      nn::load_weights(*model, weights, name);
      model->eval();
      const nn::Stages stages = model->forward_stages(input.to(run.type));
      const GoldenCase truth(file.tensors, "");
      for (const auto& [stage, actual] : stages.named()) {
        if (truth.has(stage + "/shape")) {
          SCOPED_TRACE(stage);
          expect_summary(actual, truth.below(stage), run.tolerance);
        }
      }
      EXPECT_LE(deviation(stages.logits, truth.get("logits/full", torch::kFloat64)), run.tolerance);
    }
  }
  if (files == 0) GTEST_SKIP() << "no golden of variant " << variant;
}

INSTANTIATE_TEST_SUITE_P(Variants, FullModel, testing::Values("tiny", "small", "base"));

}  // namespace
}  // namespace spatialmamba::test
