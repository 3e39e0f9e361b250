// The functions made of LibTorch's operators against those of our own kernels: values and every gradient, in
// both types, at random odd sizes and on every device of this machine.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>
#include <random>

#include "nn/composed/selective_scan.h"
#include "nn/functions/depthwise_conv.h"
#include "nn/functions/layer_norm.h"
#include "nn/functions/linear.h"
#include "nn/functions/mlp.h"
#include "nn/functions/state_mixing.h"
#include "nn/golden_tensors.h"
#include "nn/ways.h"

namespace spatialmamba::test {
namespace {

using nn::ComputePtr;
using Tensors = std::vector<torch::Tensor>;
using Function = std::function<torch::Tensor(const Tensors&, const ComputePtr&)>;

constexpr std::array kTypes = {TypedTolerance{torch::kFloat64, 1e-10}, TypedTolerance{torch::kFloat32, 2e-5}};

struct MapSize {
  std::int64_t images;
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;

  std::vector<std::int64_t> shape(std::int64_t last) const { return {images, height, width, last}; }
  std::vector<std::int64_t> shape() const { return shape(channels); }
};

/// Odd ones, and one whose scan goes through chunks of chunks.
std::vector<MapSize> sizes() {
  std::vector<MapSize> all = {{1, 1, 1, 1}, {2, 23, 31, 3}};
  std::mt19937 random(20);
  const auto draw = [&](std::int64_t most) {
    return static_cast<std::int64_t>(1 + random() % static_cast<unsigned>(most));
  };
  for (int i = 0; i < 4; ++i) all.push_back({draw(3), draw(13), draw(17), draw(19)});
  return all;
}

ComputePtr compute_of(nn::Operators operators, ScanOrder scan = ScanOrder::row,
                      nn::Precision precision = nn::Precision::full) {
  auto compute = std::make_shared<nn::Compute>();
  compute->operators = operators;
  compute->scan = scan;
  compute->precision = precision;
  return compute;
}

/// The function's value with the inputs on a device, and the gradients of those that want one.
Tensors value_and_gradients(const Function& function, const Tensors& inputs, const torch::Tensor& cotangent,
                            const torch::Device& device, const ComputePtr& compute) {
  Tensors there;
  Tensors wanted;
  for (const torch::Tensor& input : inputs) {
    there.push_back(input.defined() ? input.to(device) : input);
    if (input.defined() && input.requires_grad()) wanted.push_back(input);
  }
  const torch::Tensor value = function(there, compute);
  EXPECT_EQ(value.device(), device);
  Tensors result = torch::autograd::grad({value}, wanted, {cotangent.to(device)});
  result.insert(result.begin(), value.detach().cpu());
  return result;
}

Tensors in_double(const Tensors& inputs) {
  Tensors wide;
  for (const torch::Tensor& input : inputs) {
    wide.push_back(input.defined()
                       ? input.detach().to(torch::kFloat64).set_requires_grad(input.requires_grad())
                       : input);
  }
  return wide;
}

/// The truth is what the kernels find in double. In float a gradient that cancels is what rounding leaves: it
/// may then be as far from the truth as the kernels' own in float, and a few times that.
void expect_same(const Function& function, const Tensors& inputs, double tolerance,
                 ScanOrder scan = ScanOrder::row, nn::Precision precision = nn::Precision::full) {
  constexpr double kFactor = 8.0;
  const ComputePtr fused = compute_of(nn::Operators::fused, scan, precision);
  const ComputePtr composed = compute_of(nn::Operators::composed, scan, precision);
  const torch::Tensor cotangent = torch::randn_like(function(inputs, fused).detach());
  const Tensors own = value_and_gradients(function, inputs, cotangent, torch::kCPU, fused);
  // Doubles are not rounded to narrow types: then the kernels' result in float is all there is.
  const Tensors truth = precision == nn::Precision::full
                            ? value_and_gradients(function, in_double(inputs), cotangent.to(torch::kFloat64),
                                                  torch::kCPU, fused)
                            : own;
  for (const torch::Device& device : devices()) {
    const Tensors actual = value_and_gradients(function, inputs, cotangent, device, composed);
    for (std::size_t i = 0; i < actual.size(); ++i) {
      EXPECT_LE(deviation(actual[i], truth[i]), tolerance + kFactor * deviation(own[i], truth[i]))
          << device.str() << (i == 0 ? " value " : " gradient ") << i;
    }
  }
}

/// Calls check(size, type and tolerance) for all of them.
void for_each_run(const std::function<void(MapSize, TypedTolerance)>& check) {
  torch::manual_seed(7);
  for (const MapSize& size : sizes()) {
    for (const TypedTolerance& run : kTypes) {
      SCOPED_TRACE(fmt::format("{}x{}x{}x{} {}", size.images, size.height, size.width, size.channels,
                               c10::toString(run.type)));
      check(size, run);
    }
  }
}

/// Makes random tensors of a type that want gradients.
auto maker(torch::ScalarType type) {
  return [type](at::IntArrayRef shape, double scale = 1.0) {
    return (torch::randn(shape, type) * scale).requires_grad_();
  };
}

/// Undefined, and one factor for each image.
std::array<torch::Tensor, 2> scales(std::int64_t images, torch::ScalarType type) {
  return {torch::Tensor(), torch::arange(images, type) * 1.25};
}

TEST(Composed, DepthwiseConv) {
  for_each_run([](MapSize size, TypedTolerance run) {
    const auto random = maker(run.type);
    for (const nn::DepthwiseOptions options :
         {nn::DepthwiseOptions{.residual = true},
          nn::DepthwiseOptions{.activation = kernels::Activation::silu},
          nn::DepthwiseOptions{.stride = 2, .activation = kernels::Activation::relu}}) {
      expect_same(
          [&](const Tensors& t, const ComputePtr& compute) {
            return nn::depthwise_conv(t[0], t[1], t[2], options, compute);
          },
          {random(size.shape()), random({size.channels, 1, 3, 3}), random({size.channels})}, run.tolerance);
    }
  });
}

TEST(Composed, LayerNormAndProjection) {
  for_each_run([](MapSize size, TypedTolerance run) {
    const auto random = maker(run.type);
    const std::int64_t channels = size.channels + 1;  // a single one deviates from nothing
    const Tensors inputs = {random(size.shape(channels)), random({channels}), random({channels}),
                            random({5, channels})};
    expect_same([](const Tensors& t,
                   const ComputePtr& compute) { return nn::norm_linear(t[0], t[1], t[2], t[3], compute); },
                inputs, run.tolerance);
    expect_same(
        [](const Tensors& t, const ComputePtr& compute) { return nn::layer_norm(t[0], t[1], t[2], compute); },
        {inputs[0], inputs[1], inputs[2]}, run.tolerance);
  });
}

TEST(Composed, Linear) {
  for_each_run([](MapSize size, TypedTolerance run) {
    const auto random = maker(run.type);
    const Tensors inputs = {random(size.shape()), random({7, size.channels, 1, 1}), random({7})};
    for (const bool relu : {false, true}) {
      const Function linear = [relu](const Tensors& t, const ComputePtr& compute) {
        return nn::linear(t[0], t[1], t[2], relu, compute);
      };
      expect_same(linear, inputs, run.tolerance);
      expect_same(linear, {inputs[0], inputs[1], {}}, run.tolerance);
    }
    for (const torch::Tensor& scale : scales(size.images, run.type)) {
      expect_same(
          [](const Tensors& t, const ComputePtr& compute) {
            return nn::linear_residual(t[0], t[1], t[2], t[3], compute);
          },
          {inputs[0], random({7, size.channels}), random(size.shape(7)), scale}, run.tolerance);
    }
  });
}

TEST(Composed, Mlp) {
  for_each_run([](MapSize size, TypedTolerance run) {
    const auto random = maker(run.type);
    const std::int64_t channels = size.channels + 1;
    for (const torch::Tensor& scale : scales(size.images, run.type)) {
      expect_same(
          [](const Tensors& t, const ComputePtr& compute) {
            return nn::mlp_residual(t[0], {t[1], t[2], t[3], t[4], t[5], t[6]}, t[7], compute);
          },
          {random(size.shape(channels)), random({channels}), random({channels}),
           random({4 * channels, channels}), random({4 * channels}), random({channels, 4 * channels}),
           random({channels}), scale},
          run.tolerance);
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
Tensors mixing_inputs(MapSize size, torch::ScalarType type) {
  const auto random = maker(type);
  const std::int64_t inner = size.channels + 1;
  constexpr std::int64_t kRank = 3;
  const auto vector = [&] { return random({inner}); };
  const auto stencil = [&] { return random({inner, 1, 3, 3}, 0.4); };
  return {random(size.shape(2 * inner)),
          stencil(),
          vector(),
          random({kRank + 2, inner}),
          random({inner, kRank}),
          vector(),
          random({inner, 1}, 0.5),
          vector(),
          stencil(),
          stencil(),
          stencil(),
          random({3}),
          vector(),
          vector()};
}

TEST(Composed, StateMixingInEveryScanOrder) {
  const Function mix = [](const Tensors& t, const ComputePtr& compute) {
    return nn::state_mixing(t[0], mixing_parameters(t), compute);
  };
  for (const std::string& order : scan_order_names()) {
    for_each_run([&](MapSize size, TypedTolerance run) {
      expect_same(mix, mixing_inputs(size, run.type), run.tolerance, scan_order_from_name(order));
    });
  }
}

/// What the ablations of the fusion make of its weights: dilations without weight, one kernel for all.
TEST(Composed, StateMixingWithAblatedFusion) {
  const Function mix = [](const Tensors& t, const ComputePtr& compute) {
    return nn::state_mixing(t[0], mixing_parameters(t), compute);
  };
  for_each_run([&](MapSize size, TypedTolerance run) {
    const Tensors inputs = mixing_inputs(size, run.type);
    const torch::Tensor alpha = inputs[11].detach();
    for (const std::int64_t dilations : {2, 1}) {
      alpha.slice(0, dilations).zero_();
      expect_same(mix, inputs, run.tolerance);
    }
    alpha.fill_(1.0);
    for (const std::size_t kernel : {9, 10}) inputs[kernel].detach().copy_(inputs[8].detach());
    expect_same(mix, inputs, run.tolerance);
  });
}

TEST(Composed, StatesForPictures) {
  for (const torch::Device& device : devices()) {
    const Tensors inputs = mixing_inputs({2, 7, 9, 4}, torch::kFloat64);
    const torch::NoGradGuard no_grad;
    nn::FusionStates expected;
    nn::state_mixing(inputs[0], mixing_parameters(inputs), compute_of(nn::Operators::fused), &expected);
    Tensors there;
    for (const torch::Tensor& input : inputs) there.push_back(input.to(device));
    nn::FusionStates states;
    nn::state_mixing(there[0], mixing_parameters(there), compute_of(nn::Operators::composed), &states);
    EXPECT_LE(deviation(states.before, expected.before), 1e-10);
    EXPECT_LE(deviation(states.after, expected.after), 1e-10);
  }
}

/// The chunks of the scan against the plain loop at lengths around their limits, with decays down to 0.
TEST(Composed, SelectiveScanIsTheLoop) {
  torch::manual_seed(3);
  const auto random = maker(torch::kFloat64);
  for (const std::int64_t length : {2, 16, 31, 32, 33, 47, 511, 512, 513, 700}) {
    const Tensors inputs = {random({2, length, 3}, 30.0), random({3, 1}, 2.0), random({2, length, 3}),
                            random({2, length, 1})};
    const auto loop = [](const Tensors& t) {
      const torch::Tensor step = torch::softplus(t[0]);
      const torch::Tensor decay = torch::exp(-step * torch::exp(t[1].flatten()));
      const torch::Tensor drive = step * t[3] * t[2];
      Tensors states = {drive.select(1, 0)};
      for (std::int64_t i = 1; i < drive.size(1); ++i) {
        states.push_back(decay.select(1, i) * states.back() + drive.select(1, i));
      }
      return torch::stack(states, 1);
    };
    const torch::Tensor expected = loop(inputs);
    const torch::Tensor cotangent = torch::randn_like(expected.detach());
    const Tensors gradients = torch::autograd::grad({expected}, inputs, {cotangent});
    for (const torch::Device& device : devices()) {
      const torch::Tensor actual = nn::composed::selective_scan(inputs[0].to(device), inputs[1].to(device),
                                                                inputs[2].to(device), inputs[3].to(device));
      EXPECT_LE(deviation(actual, expected), 1e-12) << length;
      const Tensors found = torch::autograd::grad({actual}, inputs, {cotangent.to(device)});
      for (std::size_t i = 0; i < found.size(); ++i) {
        EXPECT_LE(deviation(found[i], gradients[i]), 1e-12) << length << ", gradient " << i;
      }
    }
  }
}

/// Factors are rounded alike, and only they: what is left is another order of sums in float32.
TEST(Composed, NarrowProducts) {
  const auto random = maker(torch::kFloat32);
  torch::manual_seed(5);
  const Tensors inputs = {random({3, 5, 7, 33}), random({19, 33}), random({19})};
  const Function linear = [](const Tensors& t, const ComputePtr& compute) {
    return nn::linear(t[0], t[1], t[2], false, compute);
  };
  for (const nn::Precision precision : {nn::Precision::bf16, nn::Precision::fp16}) {
    expect_same(linear, inputs, 2e-6, ScanOrder::row, precision);
    const ComputePtr narrow = compute_of(nn::Operators::composed, ScanOrder::row, precision);
    const ComputePtr full = compute_of(nn::Operators::composed);
    EXPECT_GT(deviation(linear(inputs, narrow), linear(inputs, full)), 1e-5);  // they are rounded
  }
}

}  // namespace
}  // namespace spatialmamba::test
