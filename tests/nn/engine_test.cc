// The network is stated twice, for gradients and for speed: both must compute the same.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "base/random.h"
#include "model/initialise.h"
#include "nn/golden_tensors.h"
#include "nn/spatial_mamba.h"
#include "nn/state_dict.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::test {
namespace {

constexpr double kTolerance = 2e-5;

/// Random weights whose norms, biases and rates, which begin as constants, are random too.
TensorMap varied_weights(const Architecture& architecture, std::uint64_t seed) {
  Random random(seed);
  TensorMap varied;
  for (const auto& [name, tensor] : initial_weights(architecture, seed)) {
    if (tensor.dtype() != DType::f32 || tensor.shape().size() != 1) {
      varied.add(name, tensor);
      continue;
    }
    std::vector<float> values = tensor.values<float>();
    for (float& value : values) value += static_cast<float>(random.uniform(-0.2, 0.2));
    varied.add(name, spatialmamba::Tensor::from(tensor.shape(), values));
  }
  return varied;
}

void expect_same(const Architecture& architecture, std::uint64_t seed, int sizes) {
  const TensorMap weights = varied_weights(architecture, seed);
  nn::SpatialMamba model(architecture);
  model->to(torch::kFloat64);
  nn::load_weights(*model, weights, "random weights");
  model->eval();
  Session session(Model::build({weights, {}}), {.threads = 2});
  Random random(seed);
  for (int i = 0; i < sizes; ++i) {
    const torch::NoGradGuard no_grad;
    const Shape shape = {1 + random.below(2), architecture.in_channels, 1 + random.below(90),
                         1 + random.below(90)};
    SCOPED_TRACE(to_string(shape));
    const torch::Tensor images = torch::rand(shape, torch::kFloat32) * 4.0 - 2.0;
    const TensorMap stages = session.stages({.data = images.data_ptr<float>(),
                                             .count = shape[0],
                                             .height = shape[2],
                                             .width = shape[3],
                                             .layout = ImageBatch::Layout::nchw},
                                            true);
    const auto truth = model->forward_stages(images.to(torch::kFloat64), true).named();
    EXPECT_EQ(truth.size(), stages.size());
    for (const auto& [name, expected] : truth) {
      EXPECT_LE(deviation(nn::to_torch(stages.at(name)), expected), kTolerance) << name;
    }
  }
}

class EngineAndLibTorch : public testing::TestWithParam<const char*> {};

TEST_P(EngineAndLibTorch, AgreeOnRandomWeightsAtRandomSizes) {
  expect_same(architecture_of(GetParam()), 1, 3);
}

INSTANTIATE_TEST_SUITE_P(Variants, EngineAndLibTorch, testing::Values("tiny", "small", "base"));

TEST(OddNetworks, EngineAndLibTorchAgree) {
  Architecture grey{
      .variant = "custom", .dims = {6, 20, 34}, .depths = {1, 2, 1}, .in_channels = 1, .num_classes = 7};
  expect_same(grey, 2, 12);
  Architecture wide{.variant = "custom", .dims = {18}, .depths = {2}, .in_channels = 5, .num_classes = 1};
  expect_same(wide, 3, 12);
}

}  // namespace
}  // namespace spatialmamba::test
