#include "train/class_weights.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <numeric>

#include "base/error.h"
#include "nn/initialise.h"
#include "support/message_of.h"
#include "train/learner.h"
#include "train/losses.h"

namespace spatialmamba::train {
namespace {

using testing::AllOf;
using testing::DoubleEq;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::int64_t kClasses = 4;

std::vector<double> weights_of(const std::string& value, const std::vector<std::int64_t>& counts) {
  Recipe recipe;
  override_key(recipe, "train.class_weights=" + value);
  return class_weights(recipe, counts);
}

std::string weights_refusal(const std::string& value, const std::vector<std::int64_t>& counts,
                       bool balance = false) {
  Recipe recipe;
  recipe.data.balance = balance;
  return test::message_of<UsageError>([&] {
    override_key(recipe, "train.class_weights=" + value);
    class_weights(recipe, counts);
  });
}

TEST(ClassWeights, MakeUpForHowRareAClassIs) {
  const std::vector<std::int64_t> counts = {60, 30, 0, 10};
  const std::vector<double> weights = weights_of("balanced", counts);
  EXPECT_THAT(weights, ElementsAre(DoubleEq(100.0 / 180), DoubleEq(100.0 / 90), 1.0, DoubleEq(100.0 / 30)));
  EXPECT_DOUBLE_EQ(std::inner_product(counts.begin(), counts.end(), weights.begin(), 0.0), 100.0);
  EXPECT_THAT(weights_of("none", counts), IsEmpty());
  EXPECT_THAT(weights_of("[1, 2.5, 1, 1e-3]", counts), ElementsAre(1.0, 2.5, 1.0, 1e-3));
}

TEST(ClassWeights, AreRefusedWhereTheyMeanNothing) {
  EXPECT_THAT(weights_refusal("[1, 2, 3]", {5, 5}), AllOf(HasSubstr("3 values"), HasSubstr("2 classes")));
  EXPECT_THAT(weights_refusal("balanced", {5, 5}, true), HasSubstr("data.balance=false"));
  for (const std::string value : {"often", "2", "[]", "[1, 0]", "[1, -2]", "[1, nan]", "{a: 1}"}) {
    EXPECT_THAT(weights_refusal(value, {5, 5}), HasSubstr("train.class_weights is ")) << value;
  }
}

torch::Tensor random_logits() {
  torch::manual_seed(5);
  return torch::randn({7, kClasses}, torch::kFloat64);
}

torch::Tensor some_labels() {
  return torch::tensor({0, 1, 1, 3, 0, 2, 1}, torch::kInt64);
}

torch::Tensor some_weights() {
  return torch::tensor({0.5, 2.0, 7.0, 1.25}, torch::kFloat64);
}

TEST(ClassWeights, WeighTheLossAsPyTorchDoes) {
  const torch::Tensor logits = random_logits();
  const torch::Tensor weights = some_weights();
  const torch::Tensor expected = torch::nn::functional::cross_entropy(
      logits, some_labels(), torch::nn::functional::CrossEntropyFuncOptions().weight(weights));
  const torch::Tensor hard = torch::one_hot(some_labels(), kClasses).to(torch::kFloat64);
  EXPECT_NEAR(soft_target_cross_entropy(logits, hard, weights).item<double>(), expected.item<double>(),
              1e-12);
}

/// A target of two classes is the two samples of which it is mixed.
TEST(ClassWeights, WeighMixedTargetsByTheirShares) {
  const torch::Tensor logits = random_logits();
  const torch::Tensor weights = some_weights();
  const torch::Tensor hard = torch::one_hot(some_labels(), kClasses).to(torch::kFloat64);
  const torch::Tensor mixed = 0.7 * hard + 0.3 * hard.flip(0);
  const torch::Tensor each = -(torch::log_softmax(logits, -1) * weights);
  const torch::Tensor sum = 0.7 * (each * hard).sum() + 0.3 * (each * hard.flip(0)).sum();
  EXPECT_NEAR(soft_target_cross_entropy(logits, mixed, weights).item<double>(),
              (sum / weights.index({some_labels()}).sum()).item<double>(), 1e-12);
  const torch::Tensor even = torch::full({kClasses}, 3.0, torch::kFloat64);
  EXPECT_NEAR(soft_target_cross_entropy(logits, mixed, even).item<double>(),
              soft_target_cross_entropy(logits, mixed).item<double>(), 1e-12);
}

/// The loss of one step over images of the classes 0 and 1.
MicroStep step_with(const std::vector<double>& weights) {
  nn::SpatialMamba model(Architecture{
      .variant = "custom", .dims = {8, 16}, .depths = {1, 1}, .in_channels = 3, .num_classes = kClasses});
  nn::initialise(*model, 3);
  LearnerOptions options;
  options.schedule = {.total_updates = 10};
  options.class_weights = weights;
  torch::manual_seed(5);
  const torch::Tensor targets =
      torch::one_hot(torch::tensor({0, 0, 0, 1}, torch::kInt64), kClasses).to(torch::kFloat32);
  return Learner(model, options).accumulate(torch::randn({4, 3, 16, 16}), targets, false);
}

TEST(ClassWeights, ReachTheLearner) {
  const double all = step_with({}).cross_entropy;
  EXPECT_NEAR(step_with({2, 2, 2, 2}).cross_entropy, all, 1e-6);
  const double first = step_with({1, 1e-6, 1, 1}).cross_entropy;
  const double second = step_with({1e-6, 1, 1, 1}).cross_entropy;
  EXPECT_NEAR(0.75 * first + 0.25 * second, all, 1e-4);
  EXPECT_GT(std::abs(first - second), 1e-2);
}

}  // namespace
}  // namespace spatialmamba::train
