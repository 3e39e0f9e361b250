// What the model object itself promises: names and their order, initial values, loading, drop path, fusion
// kernels that are never stale, checkpointing, inputs of any size, one clear sentence for bad ones.
#include <ATen/CPUGeneratorImpl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>

#include "nn/golden_tensors.h"
#include "nn/initialise.h"
#include "nn/state_dict.h"
#include "support/message_of.h"
#include "support/weightgen.h"

namespace spatialmamba::test {
namespace {

using nn::SpatialMamba;
using testing::HasSubstr;

Architecture small_architecture() {
  return {.variant = "custom", .dims = {8, 16}, .depths = {1, 2}, .in_channels = 3, .num_classes = 5};
}

SpatialMamba initialised(const Architecture& architecture, std::uint64_t seed = 3) {
  SpatialMamba model(architecture);
  nn::initialise(*model, seed);
  return model;
}

/// Nothing is trivial: every parameter takes part.
TensorMap generated_weights(const Architecture& architecture, std::uint64_t seed) {
  TensorMap weights;
  for (const TensorSpec& spec : tensor_specs(architecture)) {
    weights.add(spec.name, generate_weight(spec.name, spec.shape, seed));
  }
  return weights;
}

torch::Tensor evaluate(SpatialMamba& model, const torch::Tensor& images) {
  const torch::NoGradGuard no_grad;
  model->eval();
  return model->forward(images);
}

TEST(Model, NamesAndOrderAreTheReferences) {
  for (const std::string& variant : variant_names()) {
    const Architecture architecture = architecture_of(variant);
    const SpatialMamba model(architecture);
    std::vector<std::string> expected;
    std::int64_t parameters = 0;
    for (const TensorSpec& spec : tensor_specs(architecture)) {
      if (spec.trainable) expected.push_back(spec.name);
    }
    std::vector<std::string> names;
    for (const auto& entry : model->named_parameters()) {
      names.push_back(entry.key());
      parameters += entry.value().numel();
    }
    EXPECT_EQ(names, expected) << variant;
    EXPECT_EQ(parameters, count_parameters(architecture)) << variant;
    EXPECT_EQ(nn::named_state(*model).size(), tensor_specs(architecture).size());
  }
}

TEST(Initialise, DistributionsOfTheReference) {
  Architecture architecture = small_architecture();
  architecture.dims = {64, 128};
  SpatialMamba model = initialised(architecture);
  const auto p = model->named_parameters();
  const std::string block = "layers.1.blocks.0.";
  const std::string ssm = block + "self_attention.";
  const auto extreme = [&](const std::string& name) { return p[name].abs().max().item<double>(); };
  const auto constant = [&](const std::string& name, double value) {
    EXPECT_TRUE(p[name].eq(value).all().item<bool>()) << name;
  };

  for (const char* linear : {"self_attention.in_proj.weight", "self_attention.out_proj.weight",
                             "mlp.fc1.weight", "mlp.fc2.weight"}) {
    EXPECT_NEAR(p[block + linear].std().item<double>(), 0.02, 0.001) << linear;
    EXPECT_NEAR(p[block + linear].mean().item<double>(), 0.0, 0.001) << linear;
  }
  EXPECT_NEAR(p["head.weight"].std().item<double>(), 0.02, 0.003);
  for (const std::string& zero : {block + "mlp.fc1.bias", block + "mlp.fc2.bias", std::string("head.bias"),
                                  ssm + "A_logs", block + "ln_1.bias"})
    constant(zero, 0.0);
  for (const std::string& one :
       {ssm + "Ds", ssm + "state_fusion.alpha", ssm + "state_fusion.kernel_3",
        ssm + "state_fusion.kernel_3_1", ssm + "state_fusion.kernel_3_2", block + "ln_2.weight",
        std::string("norm.weight"), std::string("patch_embed.conv1.norm.weight")})
    constant(one, 1.0);

  const auto bounded = [&](const std::string& name, double bound) {
    EXPECT_LE(extreme(name), bound * (1 + 1e-6)) << name;
    EXPECT_GE(extreme(name), bound * 0.7) << name;
  };
  bounded(block + "cpe1.weight", 1.0 / 3.0);
  bounded(block + "cpe1.bias", 1.0 / 3.0);
  bounded(ssm + "conv2d.weight", 1.0 / 3.0);
  bounded(ssm + "x_proj_weight", 1.0 / std::sqrt(256.0));
  bounded(ssm + "dt_projs_weight", 1.0 / std::sqrt(8.0));
  bounded("patch_embed.conv2.0.conv.weight", 1.0 / std::sqrt(32.0 * 9.0));
  bounded("layers.0.downsample.conv.0.conv.weight", 1.0 / std::sqrt(64.0));
  bounded("layers.0.downsample.conv.0.conv.bias", 1.0 / std::sqrt(64.0));

  const torch::Tensor step = torch::softplus(p[ssm + "dt_projs_bias"]);
  EXPECT_GE(step.min().item<double>(), 0.001 * (1 - 1e-3));
  EXPECT_LE(step.max().item<double>(), 0.1 * (1 + 1e-3));
  EXPECT_NEAR(step.log().mean().item<double>(), std::log(0.01), 0.3);  // the middle of the logarithms
}

TEST(Initialise, IsAFunctionOfTheSeed) {
  const auto head = [](std::uint64_t seed) {
    return initialised(small_architecture(), seed)->named_parameters()["head.weight"];
  };
  EXPECT_TRUE(torch::equal(head(1), head(1)));
  EXPECT_FALSE(torch::equal(head(1), head(2)));
}

TEST(StateDict, ThereAndBackKeepsEveryBit) {
  const Architecture architecture = small_architecture();
  SpatialMamba model(architecture);
  const TensorMap weights = generated_weights(architecture, 11);
  nn::load_weights(*model, weights, "weights");
  const Weights saved = nn::to_weights(*model);
  ASSERT_EQ(saved.tensors.size(), weights.size());
  for (const auto& [name, tensor] : saved.tensors) {
    EXPECT_EQ(tensor.shape(), weights.at(name).shape());
    EXPECT_TRUE(std::equal(tensor.raw(), tensor.raw() + tensor.bytes(), weights.at(name).raw())) << name;
  }
  EXPECT_EQ(saved.metadata.at("task"), "classification");
}

TEST(StateDict, MismatchesAreReportedInFullAndChangeNothing) {
  const Architecture architecture = small_architecture();
  SpatialMamba model = initialised(architecture);
  const torch::Tensor before = model->named_parameters()["norm.weight"].clone();
  TensorMap wrong;
  for (const auto& [name, tensor] : generated_weights(architecture, 11)) {
    if (name == "layers.0.blocks.0.ln_1.bias") continue;
    wrong.add(name, name == "layers.0.blocks.0.ln_2.bias" ? Tensor(DType::f32, {9}) : tensor);
  }
  wrong.add("extra.weight", Tensor(DType::f32, {1}));
  const std::string message = message_of([&] { nn::load_weights(*model, wrong, "some.pth"); });
  EXPECT_THAT(message, HasSubstr("some.pth"));
  EXPECT_THAT(message, HasSubstr("layers.0.blocks.0.ln_1.bias"));
  EXPECT_THAT(message, HasSubstr("layers.0.blocks.0.ln_2.bias has shape [9]"));
  EXPECT_THAT(message, HasSubstr("extra.weight"));
  EXPECT_TRUE(torch::equal(before, model->named_parameters()["norm.weight"]));
  EXPECT_THAT(message_of([&] {
                nn::load_weights(*model, wrong, "x", {.allow_missing = true, .allow_unexpected = true});
              }),
              HasSubstr("[9]"));
}

TEST(StateDict, AnotherHeadIsInitialisedAnewWhenAsked) {
  Architecture architecture = small_architecture();
  const TensorMap weights = generated_weights(architecture, 11);
  architecture.num_classes = 7;
  SpatialMamba model(architecture);
  EXPECT_THAT(message_of([&] { nn::load_weights(*model, weights, "w"); }), HasSubstr("head.weight"));
  EXPECT_TRUE(nn::load_weights(*model, weights, "w", {.reset_head = true, .seed = 4}).head_was_reset);
  const auto p = model->named_parameters();
  EXPECT_LT(p["head.weight"].abs().max().item<double>(), 0.2);
  EXPECT_TRUE(p["head.bias"].eq(0).all().item<bool>());
  EXPECT_TRUE(torch::equal(p["norm.weight"], nn::to_torch(weights.at("norm.weight"))));
}

/// The trap of the reference: a merged kernel cached at the first evaluation.
TEST(Fusion, MergedKernelIsNeverStale) {
  const Architecture architecture = small_architecture();
  SpatialMamba model(architecture);
  nn::load_weights(*model, generated_weights(architecture, 1), "first");
  torch::manual_seed(1);
  const torch::Tensor images = torch::randn({2, 3, 37, 29});
  torch::optim::SGD optimizer(model->parameters(), torch::optim::SGDOptions(0.5));
  const auto expect_fresh = [&] {
    SpatialMamba fresh(architecture);
    nn::load_weights(*fresh, nn::to_weights(*model).tensors, "fresh");
    EXPECT_TRUE(torch::equal(evaluate(model, images), evaluate(fresh, images)));
  };
  torch::Tensor previous = evaluate(model, images);
  for (int round = 0; round < 2; ++round) {
    model->train();
    optimizer.zero_grad();
    model->forward(images).square().mean().backward();
    for (auto& entry :
         model->named_parameters()) {  // of the fusion alone: whatever changes, changes through it
      if (entry.key().find("state_fusion") == std::string::npos)
        entry.value().mutable_grad() = torch::Tensor();
    }
    optimizer.step();
    expect_fresh();
    EXPECT_FALSE(torch::equal(evaluate(model, images), previous));
    previous = evaluate(model, images);
  }
  nn::load_weights(*model, generated_weights(architecture, 2), "second");
  expect_fresh();
  EXPECT_FALSE(torch::equal(evaluate(model, images), previous));
}

TEST(DropPath, ScalesWhatItKeepsAndIsOffInEvaluation) {
  auto compute = std::make_shared<nn::Compute>();
  nn::Block block(8, 0.25, compute);
  block->train();
  const auto generator = at::make_generator<at::CPUGeneratorImpl>(5);
  const nn::BlockImpl::DropPath drawn = block->draw_drop_path(4000, generator);
  for (const torch::Tensor& scale : {drawn.attention, drawn.mlp}) {
    EXPECT_TRUE((scale.eq(0) | (scale - 4.0 / 3.0).abs().lt(1e-6)).all().item<bool>());
    EXPECT_NEAR(scale.mean().item<double>(), 1.0, 0.05);
  }
  EXPECT_FALSE(torch::equal(drawn.attention, drawn.mlp));
  block->eval();
  EXPECT_FALSE(block->draw_drop_path(4, generator).mlp.defined());
}

TEST(DropPath, CheckpointingGivesTheSameGradients) {
  Architecture architecture = small_architecture();
  architecture.drop_path_rate = 0.5;
  const TensorMap weights = generated_weights(architecture, 1);
  torch::manual_seed(2);
  const torch::Tensor images = torch::randn({6, 3, 33, 20});
  const auto gradients = [&](bool checkpoint) {
    SpatialMamba model(architecture, nn::ModelOptions{.checkpoint_blocks = checkpoint});
    nn::load_weights(*model, weights, "w");
    model->set_generator(at::make_generator<at::CPUGeneratorImpl>(9));
    model->train();
    model->forward(images).square().mean().backward();
    std::vector<torch::Tensor> all;
    for (const torch::Tensor& parameter : model->parameters()) all.push_back(parameter.grad());
    return all;
  };
  const auto plain = gradients(false);
  const auto checkpointed = gradients(true);
  for (std::size_t i = 0; i < plain.size(); ++i) EXPECT_TRUE(torch::equal(plain[i], checkpointed[i])) << i;
}

TEST(Model, AnyInputSizeAndChannelCount) {
  Architecture architecture = small_architecture();
  architecture.in_channels = 1;
  SpatialMamba model = initialised(architecture);
  for (const auto& [height, width] : std::vector<std::pair<int, int>>{{1, 1}, {2, 9}, {28, 28}, {65, 31}}) {
    const torch::Tensor images = torch::randn({2, 1, height, width});
    const torch::Tensor logits = evaluate(model, images);
    EXPECT_EQ(logits.sizes(), at::IntArrayRef({2, 5}));
    EXPECT_TRUE(torch::isfinite(logits).all().item<bool>());
    const torch::Tensor channels_last = images.contiguous(at::MemoryFormat::ChannelsLast);
    EXPECT_TRUE(torch::equal(logits, evaluate(model, channels_last)));
  }
}

TEST(Model, BadInputsGetOneSentence) {
  SpatialMamba model = initialised(small_architecture());
  EXPECT_THAT(message_of([&] {
                model->forward(torch::zeros({1, 4, 8, 8}));
              }),
              HasSubstr("(N, 3, H, W), got [1, 4, 8, 8]"));
  EXPECT_THAT(message_of([&] {
                model->forward(torch::zeros({1, 3, 8, 8}, torch::kFloat64));
              }),
              HasSubstr("Double"));
  EXPECT_THAT(message_of([&] { model->forward(torch::zeros({0, 3, 8, 8})); }), HasSubstr("empty"));
}

TEST(Model, RecordsStatesBeforeAndAfterFusion) {
  const Architecture architecture = small_architecture();
  SpatialMamba model(architecture);
  nn::load_weights(*model, generated_weights(architecture, 1), "w");
  model->train();
  const auto record = model->record_states(torch::randn({1, 3, 32, 48}));
  ASSERT_EQ(record.size(), 3U);
  EXPECT_EQ(record[0].name, "layers.0.blocks.0");
  EXPECT_EQ(record[0].before.sizes(), at::IntArrayRef({1, 8, 12, 16}));
  EXPECT_EQ(record[2].after.sizes(), at::IntArrayRef({1, 4, 6, 32}));
  EXPECT_GT((record[0].before - record[0].after).abs().max().item<double>(), 0.0);
  EXPECT_TRUE(model->is_training());
}

TEST(Model, NarrowProductsStayNearFullOnes) {
  const Architecture architecture = small_architecture();
  SpatialMamba model(architecture);
  nn::load_weights(*model, generated_weights(architecture, 1), "w");
  const torch::Tensor images = torch::randn({2, 3, 64, 64});
  const torch::Tensor full = evaluate(model, images);
  const auto difference = [&](nn::Precision precision) {
    model->set_precision(precision);
    return deviation(evaluate(model, images), full);
  };
  EXPECT_GT(difference(nn::Precision::bf16), 1e-5);  // it does something
  EXPECT_LT(difference(nn::Precision::bf16), 3e-2);
  EXPECT_GT(difference(nn::Precision::fp16), 1e-6);
  EXPECT_LT(difference(nn::Precision::fp16), 4e-3);  // has three bits more
}

}  // namespace
}  // namespace spatialmamba::test
