// Stem, downsampling, structure-aware SSM and block against the official implementation, layer by layer.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "nn/block.h"
#include "nn/functions/linear.h"
#include "nn/golden_tensors.h"
#include "nn/stem.h"
#include "nn/ways.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::test {
namespace {

using nn::ComputePtr;

constexpr std::array kMixingTolerance = {TypedTolerance{torch::kFloat64, 1e-11},
                                         TypedTolerance{torch::kFloat32, 2e-5}};
constexpr std::array kConvTolerance = {TypedTolerance{torch::kFloat64, 1e-11},
                                       TypedTolerance{torch::kFloat32, 1e-5}};
constexpr double kZeroGradient = 1e-5;

using Forward = std::function<torch::Tensor(const torch::Tensor&)>;

/// Of one type, one instruction set or set of operators, one device.
struct LayerRun {
  torch::ScalarType type;
  double tolerance;
  torch::Device device;
  ComputePtr compute;

  torch::Tensor get(const GoldenCase& golden, const std::string& name) const {
    return golden.get(name, type).to(device);
  }
  void prepare(torch::nn::Module& layer, const GoldenCase& golden) const {
    layer.to(type);
    layer.to(device);
    load_module(layer, golden.below("param"));
  }
};

/// The fused functions on every instruction set, the composed ones on every device.
std::vector<LayerRun> runs_of(TypedTolerance run) {
  std::vector<LayerRun> runs;
  const auto add = [&](const torch::Device& device, nn::Operators operators, kernels::Isa isa) {
    auto compute = std::make_shared<nn::Compute>();
    compute->isa = isa;
    compute->operators = operators;
    runs.push_back({run.type, run.tolerance, device, compute});
  };
  for (const kernels::Isa isa : kernels::supported_isas()) add(torch::kCPU, nn::Operators::fused, isa);
  for (const torch::Device& device : devices()) {
    add(device, nn::Operators::composed, kernels::default_isa());
  }
  return runs;
}

/// Output, input gradient and parameter gradients of one training pass.
void expect_training_pass(torch::nn::Module& module, const Forward& forward, const GoldenCase& golden,
                          const LayerRun& run) {
  const GoldenCase truth = golden.below("f64");
  const torch::Tensor x = run.get(golden, "x").requires_grad_();
  module.train();
  const torch::Tensor y = forward(x);
  EXPECT_LE(deviation(y, truth.get("y_train", torch::kFloat64)), run.tolerance);
  y.backward(run.get(golden, "dy"));
  EXPECT_LE(deviation(x.grad(), truth.get("dx", torch::kFloat64)), run.tolerance);
  expect_gradients(module, truth.below("grad"), run.tolerance, kZeroGradient);
}

void expect_evaluation(torch::nn::Module& module, const Forward& forward, const GoldenCase& golden,
                       const std::string& name, const LayerRun& run) {
  const torch::NoGradGuard no_grad;
  module.eval();
  const torch::Tensor y = forward(run.get(golden, "x"));
  EXPECT_LE(deviation(y, golden.below("f64").get(name, torch::kFloat64)), run.tolerance) << name;
}

/// Calls check(case, run) for each case of a golden file, both types and all that a type can run on.
template <typename Check>
void for_each_run(const std::string& file, const std::array<TypedTolerance, 2>& runs, const Check& check) {
  const Weights golden_file = read_safetensors(golden(file));
  for (const std::string& name : cases_of(golden_file.tensors)) {
    for (const TypedTolerance& type : runs) {
      for (const LayerRun& run : runs_of(type)) {
        const bool composed = run.compute->operators == nn::Operators::composed;
        SCOPED_TRACE(fmt::format("{} {} {} {}", name, c10::toString(run.type), run.device.str(),
                                 composed ? "composed" : kernels::name_of(run.compute->isa)));
        check(GoldenCase(golden_file.tensors, name + "/"), run);
      }
    }
  }
}

TEST(Layers, StructureAwareSsm) {
  for_each_run("classification/ops/ssm.safetensors", kMixingTolerance,
               [](const GoldenCase& golden, const LayerRun& run) {
                 nn::StructureAwareSsm layer(golden.get("x", run.type).size(-1), run.compute);
                 run.prepare(*layer, golden);
                 const auto parameters = layer->named_parameters();
                 const Forward forward = [&](const torch::Tensor& x) {
                   const torch::Tensor xz =
                       nn::linear(x, parameters["in_proj.weight"], {}, false, run.compute);
                   return nn::linear(layer->mix(xz), parameters["out_proj.weight"], {}, false, run.compute);
                 };
                 expect_training_pass(*layer, forward, golden, run);
                 expect_evaluation(*layer, forward, golden, "y_eval", run);
               });
}

TEST(Layers, Block) {
  for_each_run("classification/ops/block.safetensors", kMixingTolerance,
               [](const GoldenCase& golden, const LayerRun& run) {
                 nn::Block block(golden.get("x", run.type).size(-1), 0.0, run.compute);
                 run.prepare(*block, golden);
                 const Forward forward = [&](const torch::Tensor& x) { return block->forward(x); };
                 expect_training_pass(*block, forward, golden, run);
                 expect_evaluation(*block, forward, golden, "y_eval", run);
               });
}

/// Layers with BatchNorm: evaluation before and after one training pass, and the running statistics.
template <typename Layer>
void expect_norm_layer(Layer& layer, const GoldenCase& golden, const LayerRun& run) {
  run.prepare(*layer, golden);
  const Forward forward = [&](const torch::Tensor& x) { return layer->forward(x); };
  expect_evaluation(*layer, forward, golden, "y_eval", run);
  expect_training_pass(*layer, forward, golden, run);
  expect_buffers(*layer, golden.below("f64").below("after"), run.tolerance);
  expect_evaluation(*layer, forward, golden, "y_eval_after", run);
}

TEST(Layers, Stem) {
  for_each_run("classification/ops/stem.safetensors", kConvTolerance,
               [](const GoldenCase& golden, const LayerRun& run) {
                 const std::int64_t dim = golden.below("param").get("conv3.1.conv.weight", run.type).size(0);
                 nn::Stem stem(golden.get("x", run.type).size(1), dim, run.compute);
                 expect_norm_layer(stem, golden, run);
               });
}

TEST(Layers, Downsampling) {
  for_each_run("classification/ops/downsampling.safetensors", kConvTolerance,
               [](const GoldenCase& golden, const LayerRun& run) {
                 const std::int64_t next = golden.below("param").get("conv.2.conv.weight", run.type).size(0);
                 nn::Downsampling layer(golden.get("x", run.type).size(-1), next, run.compute);
                 expect_norm_layer(layer, golden, run);
               });
}

}  // namespace
}  // namespace spatialmamba::test
