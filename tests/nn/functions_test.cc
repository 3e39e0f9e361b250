// Each autograd function against the same step composed of LibTorch's operators, and its gradients against
// finite differences, in double, on every instruction set and on maps smaller than the fusion's reach.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>

#include "nn/composed/operators.h"
#include "nn/functions/checkpoint.h"
#include "nn/functions/layer_norm.h"
#include "nn/functions/linear.h"
#include "nn/golden_tensors.h"
#include "nn/plain_state_mixing.h"

namespace spatialmamba::test {
namespace {

namespace composed = nn::composed;
using nn::ComputePtr;
using Tensors = std::vector<torch::Tensor>;
using Function = std::function<torch::Tensor(const Tensors&)>;

constexpr double kSameMaths = 1e-11;
constexpr auto kFull = nn::Precision::full;

ComputePtr compute_on(kernels::Isa isa, nn::Precision precision = nn::Precision::full) {
  auto compute = std::make_shared<nn::Compute>();
  compute->isa = isa;
  compute->precision = precision;
  return compute;
}

torch::Tensor random(at::IntArrayRef shape, double scale = 1.0) {
  return (torch::randn(shape, torch::kFloat64) * scale).requires_grad_();
}

/// The value for a random cotangent and the gradients of all inputs that want one.
Tensors value_and_gradients(const Function& function, const Tensors& inputs, const torch::Tensor& cotangent) {
  const torch::Tensor value = function(inputs);
  Tensors wanted;
  for (const torch::Tensor& input : inputs) {
    if (input.defined() && input.requires_grad()) wanted.push_back(input);
  }
  Tensors result = torch::autograd::grad({value}, wanted, {cotangent});
  result.insert(result.begin(), value);
  return result;
}

void expect_same(const Function& function, const Function& oracle, const Tensors& inputs) {
  const torch::Tensor cotangent = torch::randn_like(oracle(inputs));
  const Tensors actual = value_and_gradients(function, inputs, cotangent);
  const Tensors expected = value_and_gradients(oracle, inputs, cotangent);
  for (std::size_t i = 0; i < actual.size(); ++i) {
    EXPECT_LE(deviation(actual[i], expected[i]), kSameMaths) << (i == 0 ? "value" : "gradient ") << i;
  }
}

/// Compares each directional derivative with a central difference of fourth order.
void expect_finite_differences(const Function& function, const Tensors& inputs) {
  constexpr double kStep = 1e-4;
  constexpr double kTolerance = 1e-8;
  const torch::Tensor cotangent = torch::randn_like(function(inputs));
  const Tensors gradients = value_and_gradients(function, inputs, cotangent);
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    torch::Tensor direction = torch::randn_like(inputs[i]);
    direction /= direction.norm();
    const auto moved = [&](double step) {
      Tensors at = inputs;
      at[i] = inputs[i] + step * direction;
      return (function(at) * cotangent).sum().item<double>();
    };
    const auto central = [&](double step) { return (moved(step) - moved(-step)) / (2 * step); };
    const double difference = (4 * central(kStep) - central(2 * kStep)) / 3;
    const double derivative = (gradients[i + 1] * direction).sum().item<double>();
    EXPECT_NEAR(difference, derivative, kTolerance * (1.0 + gradients[i + 1].norm().item<double>()))
        << "input " << i;
  }
}

struct MapSize {
  std::int64_t height;
  std::int64_t width;
};
constexpr std::array kSizes = {MapSize{1, 1}, MapSize{1, 7}, MapSize{3, 4}, MapSize{13, 17}};

/// Runs the check for each size of map and instruction set.
void for_each_map(const std::function<void(MapSize, const ComputePtr&)>& check) {
  torch::manual_seed(7);
  for (const MapSize size : kSizes) {
    for (const kernels::Isa isa : kernels::supported_isas()) {
      SCOPED_TRACE(fmt::format("{}x{} {}", size.height, size.width, kernels::name_of(isa)));
      check(size, compute_on(isa));
    }
  }
}

TEST(Functions, DepthwiseConv) {
  for_each_map([](MapSize size, const ComputePtr& compute) {
    for (const nn::DepthwiseOptions options :
         {nn::DepthwiseOptions{.residual = true},
          nn::DepthwiseOptions{.activation = kernels::Activation::silu},
          nn::DepthwiseOptions{.stride = 2, .activation = kernels::Activation::relu}}) {
      const Tensors inputs = {random({2, size.height, size.width, 11}), random({11, 1, 3, 3}), random({11})};
      expect_same([&](const Tensors& t) { return nn::depthwise_conv(t[0], t[1], t[2], options, compute); },
                  [&](const Tensors& t) { return composed::depthwise_conv(t[0], t[1], t[2], options); },
                  inputs);
    }
  });
}

TEST(Functions, LayerNormAndProjection) {
  for_each_map([](MapSize size, const ComputePtr& compute) {
    const Tensors inputs = {random({2, size.height, size.width, 11}), random({11}), random({11}),
                            random({6, 11})};
    expect_same([&](const Tensors& t) { return nn::norm_linear(t[0], t[1], t[2], t[3], compute); },
                [&](const Tensors& t) { return composed::norm_linear(t[0], t[1], t[2], t[3], kFull); },
                inputs);
    const Tensors norm_inputs(inputs.begin(), inputs.begin() + 3);
    expect_same([&](const Tensors& t) { return nn::layer_norm(t[0], t[1], t[2], compute); },
                [&](const Tensors& t) { return composed::layer_norm(t[0], t[1], t[2]); }, norm_inputs);
  });
}

TEST(Functions, Linear) {
  for_each_map([](MapSize size, const ComputePtr& compute) {
    const Tensors inputs = {random({2, size.height, size.width, 5}), random({7, 5, 1, 1}), random({7})};
    for (const bool relu : {false, true}) {
      expect_same([&](const Tensors& t) { return nn::linear(t[0], t[1], t[2], relu, compute); },
                  [&](const Tensors& t) { return composed::linear(t[0], t[1], t[2], relu, kFull); }, inputs);
    }
    const torch::Tensor some = torch::tensor({0.0, 1.25}, torch::kFloat64);
    for (const torch::Tensor& scale : {torch::Tensor(), some}) {
      const Tensors with_residual = {inputs[0], random({7, 5}), random({2, size.height, size.width, 7})};
      expect_same([&](const Tensors& t) { return nn::linear_residual(t[0], t[1], t[2], scale, compute); },
                  [&](const Tensors& t) { return composed::linear_residual(t[0], t[1], t[2], scale, kFull); },
                  with_residual);
    }
  });
}

TEST(Functions, Mlp) {
  const auto parameters = [](const Tensors& t) {
    return nn::MlpParameters{t[1], t[2], t[3], t[4], t[5], t[6]};
  };
  const torch::Tensor some = torch::tensor({1.25, 0.0}, torch::kFloat64);
  for_each_map([&](MapSize size, const ComputePtr& compute) {
    const Tensors inputs = {random({2, size.height, size.width, 6}),
                            random({6}),
                            random({6}),
                            random({24, 6}),
                            random({24}),
                            random({6, 24}),
                            random({6})};
    for (const torch::Tensor& scale : {torch::Tensor(), some}) {
      expect_same([&](const Tensors& t) { return nn::mlp_residual(t[0], parameters(t), scale, compute); },
                  [&](const Tensors& t) { return composed::mlp_residual(t[0], parameters(t), scale, kFull); },
                  inputs);
    }
  });
}

nn::StateMixingParameters mixing_parameters(const Tensors& t) {
  nn::StateMixingParameters parameters;
  for (std::size_t i = 0; i < nn::kStateMixingFields.size(); ++i)
    parameters.*nn::kStateMixingFields[i] = t[i + 1];
  return parameters;
}

/// xz and all parameters, of sizes at which every gradient counts.
Tensors mixing_inputs(MapSize size) {
  constexpr std::int64_t kInner = 10;
  constexpr std::int64_t kRank = 3;
  const auto stencil = [&] { return random({kInner, 1, 3, 3}, 0.4); };
  return {random({2, size.height, size.width, 2 * kInner}),
          stencil(),
          random({kInner}),
          random({kRank + 2, kInner}),
          random({kInner, kRank}),
          random({kInner}),
          random({kInner, 1}, 0.5),
          random({kInner}),
          stencil(),
          stencil(),
          stencil(),
          random({3}),
          random({kInner}),
          random({kInner})};
}

TEST(Functions, StateMixingEqualsComposed) {
  for_each_map([](MapSize size, const ComputePtr& compute) {
    expect_same([&](const Tensors& t) { return nn::state_mixing(t[0], mixing_parameters(t), compute); },
                [](const Tensors& t) { return plain_state_mixing(t[0], mixing_parameters(t)); },
                mixing_inputs(size));
  });
}

std::vector<std::int64_t> tokens_visited(ScanOrder scan, MapSize size) {
  std::vector<std::int64_t> tokens;
  if (scan == ScanOrder::column) {
    for (std::int64_t x = 0; x < size.width; ++x) {
      for (std::int64_t y = 0; y < size.height; ++y) tokens.push_back(y * size.width + x);
    }
    return tokens;
  }
  for (std::int64_t y = 0; y < size.height; ++y) {
    const bool turned = scan == ScanOrder::snake && y % 2 == 1;
    for (std::int64_t x = 0; x < size.width; ++x) {
      tokens.push_back(y * size.width + (turned ? size.width - 1 - x : x));
    }
  }
  return tokens;
}

TEST(Functions, StateMixingInEveryScanOrderEqualsComposed) {
  for (const std::string& name : scan_order_names()) {
    for_each_map([&](MapSize size, const ComputePtr& compute) {
      compute->scan = scan_order_from_name(name);
      expect_same([&](const Tensors& t) { return nn::state_mixing(t[0], mixing_parameters(t), compute); },
                  [&](const Tensors& t) {
                    return plain_state_mixing(t[0], mixing_parameters(t),
                                              tokens_visited(compute->scan, size));
                  },
                  mixing_inputs(size));
    });
  }
}

TEST(Functions, StateMixingFiniteDifferences) {
  for_each_map([](MapSize size, const ComputePtr& compute) {
    expect_finite_differences(
        [&](const Tensors& t) { return nn::state_mixing(t[0], mixing_parameters(t), compute); },
        mixing_inputs(size));
  });
}

TEST(Functions, CheckpointLeavesFrozenParametersAlone) {
  const Tensors inputs = {random({2, 3, 4, 5}), random({7, 5})};
  const torch::Tensor frozen = torch::randn({7}, torch::kFloat64);
  const auto compute = compute_on(kernels::default_isa());
  const auto run = [&](const torch::Tensor& x, const torch::Tensor& w) {
    return nn::linear(x, w, frozen, true, compute);
  };
  expect_same(
      [&](const Tensors& t) {
        return nn::checkpoint([&, w = t[1]](const torch::Tensor& x) { return run(x, w); }, t[0],
                              {t[1], frozen});
      },
      [&](const Tensors& t) { return run(t[0], t[1]); }, inputs);
}

}  // namespace
}  // namespace spatialmamba::test
