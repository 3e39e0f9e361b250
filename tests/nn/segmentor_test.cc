// UPerNet against mmsegmentation: resizing and pooling, both heads with gradients, the whole nano network.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <set>

#include "nn/functions/maps.h"
#include "nn/golden_tensors.h"
#include "nn/segmentor.h"
#include "nn/state_dict.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::test {
namespace {

constexpr double kTolerance = 1e-5;

/// What stands before the first dot of the names that hold `part`.
std::set<std::string> cases_with(const TensorMap& tensors, const std::string& part) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : tensors) {
    if (name.find(part) != std::string::npos) names.insert(name.substr(0, name.find('.')));
  }
  EXPECT_FALSE(names.empty()) << part;
  return names;
}

torch::Tensor tokens(const torch::Tensor& planes) {
  return planes.permute({0, 2, 3, 1}).contiguous();
}
torch::Tensor planes(const torch::Tensor& tokens) {
  return tokens.permute({0, 3, 1, 2});
}

nn::Segmentor nano() {
  const Weights weights = read_weights(golden("segmentation/nano/checkpoint.pth"));
  const SegmentorArchitecture architecture = infer_segmentor(weights.tensors);
  nn::Segmentor model(architecture);
  nn::load_state(nn::named_state(*model, tensor_specs(architecture)), weights.tensors,
                 compare(architecture, weights.tensors), "nano", "nano");
  model->eval();
  return model;
}

TEST(SegmentationMaps, ResizingAndPooling) {
  const Weights file = read_safetensors(golden("segmentation/components/resize.safetensors"));
  for (const std::string& name : cases_with(file.tensors, ".in")) {
    SCOPED_TRACE(name);
    const GoldenCase golden_case(file.tensors, name + ".");
    const torch::Tensor input = golden_case.get("in", torch::kFloat32).requires_grad_();
    const torch::Tensor expected = golden_case.get("out", torch::kFloat32);
    const torch::Tensor output =
        planes(name.starts_with("pool") ? nn::pool_map(tokens(input), expected.size(2))
                                        : nn::resize_map(tokens(input), expected.size(2), expected.size(3)));
    output.backward(golden_case.get("grad_out", torch::kFloat32));
    EXPECT_LE(deviation(output, expected), kTolerance);
    EXPECT_LE(deviation(input.grad(), golden_case.get("grad_in", torch::kFloat32)), kTolerance);
  }
}

struct Heads {
  Heads(const TensorMap& tensors, torch::ScalarType type) {
    const auto size = [&](const std::string& name, std::size_t dimension) {
      return tensors.at(name).shape()[dimension];
    };
    const std::int64_t classes = size("uper.w.conv_seg.bias", 0);
    const std::string fcn_conv = "fcn.w.convs.0.conv.weight";
    for (std::size_t i = 0; i < 3; ++i) {
      dims.push_back(size("uper.w.lateral_convs." + std::to_string(i) + ".conv.weight", 1));
    }
    dims.push_back(size("uper.w.psp_modules.0.1.conv.weight", 1));
    const auto compute = std::make_shared<nn::Compute>();
    uper = nn::UperHead(dims, std::vector<std::int64_t>{1, 2, 3, 6}, size("uper.w.conv_seg.weight", 1),
                        classes, compute);
    fcn = nn::FcnHead(size(fcn_conv, 1), size(fcn_conv, 0), classes, compute);
    uper->to(type);
    fcn->to(type);
    load_module(*uper, GoldenCase(tensors, "uper.w."));
    load_module(*fcn, GoldenCase(tensors, "fcn.w."));
    uper->set_dropout(0.0);
    fcn->set_dropout(0.0);
  }

  std::vector<std::int64_t> dims;
  nn::UperHead uper{nullptr};
  nn::FcnHead fcn{nullptr};
};

void expect_heads(const TensorMap& tensors, const std::string& size, bool training, torch::ScalarType type) {
  const GoldenCase inputs(tensors, size + ".");
  const GoldenCase expected(tensors, size + (training ? ".train." : ".eval."));
  if (!expected.has("psp")) return;  // the project's own copy leaves some out
  Heads heads(tensors, type);
  heads.uper->train(training);
  heads.fcn->train(training);
  std::vector<torch::Tensor> leaves;
  std::vector<torch::Tensor> maps;
  for (std::size_t i = 0; i < heads.dims.size(); ++i) {
    leaves.push_back(inputs.get("in" + std::to_string(i), type).requires_grad_());
    maps.push_back(tokens(leaves.back()));
  }
  const nn::UperMaps out = heads.uper(maps);
  const torch::Tensor fcn = heads.fcn(maps[2]);
  const auto expect = [&](const std::string& name, const torch::Tensor& actual) {
    EXPECT_LE(deviation(actual, expected.get(name, type)), kTolerance) << name;
  };
  for (std::size_t i = 0; i < out.pooled.size(); ++i)
    expect("ppm" + std::to_string(i), planes(out.pooled[i]));
  expect("psp", planes(out.psp));
  expect("fused", planes(out.fused));
  expect("uper", planes(out.logits));
  expect("fcn", planes(fcn));
  torch::autograd::backward({planes(out.logits), planes(fcn)},
                            {expected.get("uper_grad_out", type), expected.get("fcn_grad_out", type)});
  for (std::size_t i = 0; i < leaves.size(); ++i) expect("grad_in" + std::to_string(i), leaves[i].grad());
  if (expected.has("grad.conv_seg.weight") && type == torch::kFloat64) {
    // The branch that is pooled to one point has a BatchNorm over two values, in front of which gradients
    // cancel but for a hundredth of the other branches': there the golden is single precision's rounding of
    // numbers of their size.
    const auto cancels = [](const std::string& name) { return name == "psp_modules.0.1.conv.weight"; };
    const torch::Tensor sibling = expected.get("grad.psp_modules.1.1.conv.weight", torch::kFloat64);
    expect_gradients(*heads.uper, GoldenCase(tensors, size + ".train.grad."), kTolerance,
                     kTolerance * sibling.abs().max().item<double>(), cancels);
    expect_buffers(*heads.uper, GoldenCase(tensors, size + ".train.after."), kTolerance);
  }
}

TEST(SegmentationHeads, ForwardAndGradients) {
  const Weights file = read_safetensors(golden("segmentation/components/heads.safetensors"));
  for (const std::string& size : cases_with(file.tensors, ".in0")) {
    for (const bool training : {false, true}) {
      for (const torch::ScalarType type : {torch::kFloat32, torch::kFloat64}) {
        SCOPED_TRACE(size + (training ? " train " : " eval ") + c10::toString(type));
        expect_heads(file.tensors, size, training, type);
      }
    }
  }
}

TEST(Segmentor, NanoNetworkAtEverySize) {
  const Weights file = read_safetensors(golden("segmentation/nano/logits.safetensors"));
  nn::Segmentor model = nano();
  const torch::NoGradGuard no_grad;
  for (const std::string& name : cases_with(file.tensors, ".input")) {
    SCOPED_TRACE(name);
    const GoldenCase truth(file.tensors, name + ".");
    const torch::Tensor images = truth.get("input", torch::kFloat32);
    std::size_t compared = 0;
    for (const auto& [map, actual] : model->forward_maps(images, true).named()) {
      EXPECT_LE(deviation(actual, truth.get(map, torch::kFloat32)), kTolerance) << map;
      ++compared;
    }
    EXPECT_LE(deviation(model->forward(images), truth.get("logits", torch::kFloat32)), kTolerance);
    EXPECT_EQ(compared + 2, truth.names().size());  // besides the input and the resized logits
  }
}

TEST(Segmentor, CheckpointOfTheReferenceLoadsAsItIs) {
  if (!has_golden("segmentation/nano/weights.safetensors")) GTEST_SKIP();
  const TensorMap plain = read_weights(golden("segmentation/nano/weights.safetensors")).tensors;
  const TensorMap checkpoint = read_weights(golden("segmentation/nano/checkpoint.pth")).tensors;
  ASSERT_EQ(plain.size(), checkpoint.size());
  for (const auto& [name, tensor] : plain) {
    EXPECT_TRUE(torch::equal(nn::to_torch(tensor), nn::to_torch(checkpoint.at(name)))) << name;
  }
}

TEST(Segmentor, InitialisationIsRepeatableAndComputes) {
  const SegmentorArchitecture architecture = nano()->architecture();
  nn::Segmentor first(architecture);
  nn::Segmentor second(architecture);
  nn::initialise(*first, 7);
  nn::initialise(*second, 7);
  for (const auto& entry : first->named_parameters()) {
    EXPECT_TRUE(torch::equal(entry.value(), second->named_parameters()[entry.key()])) << entry.key();
  }
  const torch::NoGradGuard no_grad;
  first->eval();
  const torch::Tensor logits = first->forward(torch::randn({1, 3, 33, 47}));
  EXPECT_EQ(logits.sizes(), (std::vector<std::int64_t>{1, architecture.num_classes, 33, 47}));
  EXPECT_TRUE(torch::isfinite(logits).all().item<bool>());
}

TEST(Segmentor, DropoutDropsWholeChannelsInTrainingOnly) {
  const auto compute = std::make_shared<nn::Compute>();
  nn::Classifier classifier(64, 1, compute);
  const torch::NoGradGuard no_grad;
  classifier->weight.fill_(1);
  classifier->bias.zero_();
  const torch::Tensor x = torch::ones({4, 2, 3, 64});
  const torch::Tensor y = classifier(x, 0.5, std::nullopt);
  EXPECT_TRUE(torch::equal(y, y.slice(1, 0, 1).slice(2, 0, 1).expand_as(y)));  // the same channels everywhere
  EXPECT_GT((y - 64).abs().max().item<double>(), 0.0);
  classifier->eval();
  EXPECT_TRUE(torch::equal(classifier(x, 0.5, std::nullopt), torch::full({4, 2, 3, 1}, 64.0)));
}

}  // namespace
}  // namespace spatialmamba::test
