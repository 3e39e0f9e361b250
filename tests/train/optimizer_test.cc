// AdamW, EMA, losses and updates against LibTorch's own operators and the golden losses.
#include <gtest/gtest.h>

#include "data/mixup.h"
#include "nn/initialise.h"
#include "nn/state_dict.h"
#include "nn/ways.h"
#include "support/golden.h"
#include "train/adamw.h"
#include "train/ema.h"
#include "train/learner.h"
#include "train/losses.h"

namespace spatialmamba::train {
namespace {

double deviation(const torch::Tensor& actual, const torch::Tensor& expected) {
  const torch::Tensor a = actual.cpu().to(torch::kFloat64);
  const torch::Tensor b = expected.cpu().to(torch::kFloat64);
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

/// Parameters of both groups and of one element, of odd sizes.
NamedTensors make_parameters(torch::ScalarType type, const torch::Device& device) {
  torch::manual_seed(1);
  NamedTensors parameters;
  const std::vector<std::pair<std::string, std::vector<std::int64_t>>> shapes = {
      {"a.weight", {7, 5}}, {"a.bias", {7}}, {"b.A_logs", {33, 1}}, {"b.Ds", {33}}, {"c.scalar", {1, 1}}};
  for (const auto& [name, shape] : shapes) {
    parameters.emplace_back(name, torch::randn(shape, type).to(device).set_requires_grad(true));
  }
  return parameters;
}

/// In one type, and in one of the ways of this machine.
class OptimizerOfType : public testing::TestWithParam<std::tuple<torch::ScalarType, test::Way>> {
 protected:
  torch::ScalarType type() const { return std::get<0>(GetParam()); }
  const test::Way& way() const { return std::get<1>(GetParam()); }
};

TEST_P(OptimizerOfType, StepsAsLibTorchsAdamW) {
  constexpr double kRate = 3e-3;
  constexpr double kScale = 0.25;
  const AdamWOptions options{
      .beta1 = 0.85, .beta2 = 0.97, .epsilon = 1e-7, .weight_decay = 0.1, .operators = way().operators};
  const NamedTensors parameters = make_parameters(type(), way().device);
  AdamW ours(group_parameters(parameters), options);

  std::vector<torch::Tensor> copies;
  std::vector<torch::optim::OptimizerParamGroup> groups;
  for (const bool decaying : {true, false}) {
    std::vector<torch::Tensor> members;
    for (const auto& [name, parameter] : parameters) {
      if (decays(name, parameter.dim()) != decaying) continue;
      members.push_back(parameter.detach().clone().set_requires_grad(true));
    }
    copies.insert(copies.end(), members.begin(), members.end());
    auto settings = std::make_unique<torch::optim::AdamWOptions>(kRate);
    settings->betas({options.beta1, options.beta2}).eps(options.epsilon).weight_decay(decaying ? 0.1 : 0.0);
    groups.emplace_back(members, std::move(settings));
  }
  torch::optim::AdamW reference(groups, torch::optim::AdamWOptions(kRate));

  for (int step = 0; step < 20; ++step) {
    for (std::size_t i = 0; i < copies.size(); ++i) {
      const torch::Tensor gradient = torch::randn_like(copies[i]);
      copies[i].mutable_grad() = gradient * kScale;
      torch::Tensor parameter = ours.slots()[i].parameter;
      // Another memory layout, as a transposed product would leave it.
      parameter.mutable_grad() = gradient.dim() == 2 ? gradient.t().contiguous().t() : gradient.clone();
    }
    reference.step();
    ours.step(kRate, kScale);
  }
  const double tolerance = type() == torch::kFloat64 ? 1e-13 : 1e-5;
  for (std::size_t i = 0; i < copies.size(); ++i) {
    EXPECT_LE(deviation(ours.slots()[i].parameter.detach(), copies[i].detach()), tolerance)
        << ours.slots()[i].name;
  }
  EXPECT_EQ(ours.updates(), 20);
}

TEST_P(OptimizerOfType, GradientNormIsThatOfAllGradientsTogether) {
  const NamedTensors parameters = make_parameters(type(), way().device);
  AdamW optimizer(group_parameters(parameters), {.operators = way().operators});
  double sum = 0.0;
  for (const auto& [name, parameter] : parameters) {
    if (name == "c.scalar") continue;  // without gradient: it does not count
    torch::Tensor handle = parameter;
    handle.mutable_grad() = torch::randn_like(parameter);
    sum += parameter.grad().to(torch::kFloat64).square().sum().item<double>();
  }
  EXPECT_NEAR(optimizer.gradient_norm(), std::sqrt(sum), 1e-6 * std::sqrt(sum));
  EXPECT_EQ(optimizer.first_non_finite_gradient(), "");
  parameters[2].second.grad()[4][0] = std::numeric_limits<double>::infinity();
  EXPECT_EQ(optimizer.first_non_finite_gradient(), parameters[2].first);
  optimizer.zero_grad();
  EXPECT_EQ(optimizer.gradient_norm(), 0.0);
}

TEST_P(OptimizerOfType, EmaAveragesFloatsAndTruncatesIntegers) {
  constexpr double kDecay = 0.9;
  torch::manual_seed(2);
  const torch::Device& device = way().device;
  const torch::Tensor average = torch::randn({5, 7}, type()).to(device);
  const torch::Tensor value = torch::randn({5, 7}, type()).to(device);
  const torch::Tensor counter = torch::full({}, 4, torch::kInt64).to(device);
  const torch::Tensor expected = average * kDecay + value * (1.0 - kDecay);
  update_ema(kDecay, {{"x", average}, {"n", counter}},
             {{"x", value}, {"n", torch::full({}, 23, torch::kInt64).to(device)}}, kernels::default_isa(),
             way().operators);
  EXPECT_LE(deviation(average, expected), 1e-6);
  EXPECT_EQ(counter.item<std::int64_t>(), 5);  // 4 * 0.9 + 23 * 0.1 = 5.9
  EXPECT_THROW(update_ema(kDecay, {{"x", average}}, {{"y", value}}, kernels::default_isa()), Error);
}

INSTANTIATE_TEST_SUITE_P(TypesAndWays, OptimizerOfType,
                         testing::Combine(testing::Values(torch::kFloat32, torch::kFloat64),
                                          testing::ValuesIn(test::ways())));

/// `loss/soft_target_caseN` belongs to the target `caseN/target`, `loss/label_smoothing_S` to the labels `y`.
TEST(Losses, MatchTheReference) {
  constexpr double kTolerance = 1e-6;
  const std::string soft = "loss/soft_target_";
  const std::string smooth = "loss/label_smoothing_";
  const Weights file = read_safetensors(test::golden("classification/data/mixup.safetensors"));
  const torch::Tensor logits = nn::to_torch(file.tensors.at("loss/logits")).to(torch::kFloat64);
  const auto labels = file.tensors.at("y").values<std::int64_t>();
  int compared = 0;
  for (const auto& [name, tensor] : file.tensors) {
    torch::Tensor targets;
    if (name.starts_with(soft)) {
      targets = nn::to_torch(file.tensors.at(name.substr(soft.size()) + "/target")).to(torch::kFloat64);
    } else if (name.starts_with(smooth)) {
      const double smoothing = std::stod(name.substr(smooth.size()));
      targets =
          torch::tensor(data::soft_targets<double>(labels, logits.size(1), smoothing, 1.0), torch::kFloat64)
              .view_as(logits);
    } else {
      continue;
    }
    const double expected = test::as_double(tensor).front();
    EXPECT_NEAR(soft_target_cross_entropy(logits, targets).item<double>(), expected, kTolerance * expected)
        << name;
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

nn::SpatialMamba small_model(std::uint64_t seed) {
  nn::SpatialMamba model(
      Architecture{.variant = "custom", .dims = {8, 16}, .depths = {1, 1}, .num_classes = 3});
  nn::initialise(*model, seed);
  set_element_type(*model, torch::kFloat64);
  return model;
}

LearnerOptions small_options(std::int64_t accumulation) {
  LearnerOptions options;
  options.schedule = {.base_rate = 1e-2, .warmup_rate = 1e-2, .minimum_rate = 1e-3, .total_updates = 10};
  options.accumulation = accumulation;
  options.ema_decay = 0.5;
  return options;
}

TEST(Learner, AccumulatedGradientsAreTheMeanOfTheirBatches) {
  torch::manual_seed(3);
  const torch::Tensor images = torch::randn({4, 3, 16, 16}, torch::kFloat64);
  const torch::Tensor targets = torch::softmax(torch::randn({4, 3}, torch::kFloat64), 1);
  // The same half twice: BatchNorm's statistics agree, so two passes must give what one pass gives.
  Learner twice(small_model(5), small_options(2));
  Learner once(small_model(5), small_options(1));
  twice.accumulate(images, targets, false);
  const double loss = twice.accumulate(images, targets, false).loss;
  const double whole = once.accumulate(images, targets, false).loss;
  EXPECT_NEAR(2.0 * loss, whole, 1e-12);
  const Update a = twice.update();
  const Update b = once.update();
  EXPECT_NEAR(a.gradient_norm, b.gradient_norm, 1e-10 * b.gradient_norm);
  for (std::size_t i = 0; i < once.optimizer().slots().size(); ++i) {
    const auto& slot = once.optimizer().slots()[i];
    if (slot.name.find("downsample.conv.2.conv.bias") != std::string::npos)
      continue;  // true gradient 0: noise
    EXPECT_LE(deviation(twice.optimizer().slots()[i].parameter.detach(), slot.parameter.detach()), 1e-8)
        << slot.name;
  }
}

TEST(Learner, ClippingLimitsTheNorm) {
  torch::manual_seed(4);
  const torch::Tensor images = torch::randn({2, 3, 16, 16}, torch::kFloat64);
  const torch::Tensor targets = torch::softmax(torch::randn({2, 3}, torch::kFloat64), 1);
  LearnerOptions options = small_options(1);
  options.clip_norm = 1e-3;
  Learner learner(small_model(6), options);
  learner.accumulate(images, targets, false);
  const Update update = learner.update();
  EXPECT_TRUE(update.clipped);
  double squares = 0.0;  // after one step the first moment is (1 - beta1) times the clipped gradient
  for (const AdamW::Slot& slot : learner.optimizer().slots()) {
    squares += (slot.mean / (1.0 - options.adamw.beta1)).square().sum().item<double>();
  }
  EXPECT_NEAR(std::sqrt(squares), options.clip_norm, 1e-3 * options.clip_norm);
}

TEST(Learner, TeacherUsesTheCurrentAveragedWeights) {
  torch::manual_seed(8);
  const torch::Tensor images = torch::randn({2, 3, 16, 16}, torch::kFloat64);
  const torch::Tensor targets = torch::softmax(torch::randn({2, 3}, torch::kFloat64), 1);
  LearnerOptions options = small_options(1);
  options.mesa = 2.0;
  Learner learner(small_model(9), options);
  for (int i = 0; i < 3; ++i) {
    const torch::Tensor prediction = torch::softmax(evaluate_logits(*learner.ema_model(), images), 1);
    nn::SpatialMamba student = copy_model(*learner.model());
    student->train();
    const double expected = soft_target_cross_entropy(student->forward(images), prediction).item<double>();
    const MicroStep step = learner.accumulate(images, targets, true);
    EXPECT_NEAR(step.teacher, expected, 1e-10);
    EXPECT_NEAR(step.loss, step.cross_entropy + 2.0 * step.teacher, 1e-12);
    learner.update();
  }
}

}  // namespace
}  // namespace spatialmamba::train
