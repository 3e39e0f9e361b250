// Runs of several processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "base/error.h"
#include "launch/lost_rank.h"
#include "nn/initialise.h"
#include "nn/state_dict.h"
#include "support/temporary_folder.h"
#include "train/groups.h"
#include "train/learner.h"
#include "train/run_folder.h"
#include "train/small_run.h"

namespace spatialmamba::train {
namespace {

using testing::HasSubstr;

using test::in_group;
using test::kRounding;

class Groups : public testing::Test {
 protected:
  Groups() { at::set_num_threads(1); }

  RunFolder folder(const std::string& name) const { return RunFolder(temporary_.path() / name); }

  /// Stops when `rank` is asked for the `stop_at`-th time.
  void run(const Recipe& recipe, const std::string& name, int processes, int rank = 0, int stop_at = -1) {
    const auto train_one = [&](const std::shared_ptr<distributed::Group>& group) {
      const RunOptions options = test::stoppable(folder(name).path(), group, rank, stop_at);
      const RunResult result = train(recipe, data_.training, data_.validation, options);
      EXPECT_EQ(result.interrupted, stop_at >= 0);
    };
    if (processes == 1) return train_one(nullptr);
    in_group(processes, train_one);
  }

  /// The largest difference between the tensors of two checkpoints and between their scores.
  double difference(const std::string& first, const std::string& second) const {
    const Weights a = read_safetensors(folder(first).checkpoint());
    const Weights b = read_safetensors(folder(second).checkpoint());
    double worst = 0.0;
    for (const auto& [name, tensor] : a.tensors) {
      const torch::Tensor left = nn::to_torch(tensor).to(torch::kFloat64);
      const torch::Tensor right = nn::to_torch(*b.tensors.find(name)).to(torch::kFloat64);
      worst = std::max(worst, (left - right).abs().max().item<double>());
    }
    const Progress left = read_saved_run(folder(first).checkpoint()).progress;
    const Progress right = read_saved_run(folder(second).checkpoint()).progress;
    EXPECT_EQ(left.updates, right.updates);
    EXPECT_EQ(left.history.size(), right.history.size());
    for (std::size_t i = 0; i < std::min(left.history.size(), right.history.size()); ++i) {
      worst = std::max(worst, std::abs(left.history[i].train_loss - right.history[i].train_loss));
      worst = std::max(worst, std::abs(*left.history[i].validation_loss - *right.history[i].validation_loss));
      EXPECT_EQ(left.history[i].top1, right.history[i].top1);
      EXPECT_EQ(left.history[i].top5, right.history[i].top5);
    }
    return worst;
  }

  test::TemporaryFolder temporary_;
  test::SmallData data_;
};

Recipe double_recipe() {
  Recipe recipe = test::small_recipe();
  recipe.train.precision = "fp64";
  return recipe;
}

TEST_F(Groups, NormalisedTogetherTwoHalvesAreOneBatch) {
  data_.training = test::make_pictures(645, 1);
  Recipe recipe = double_recipe();
  recipe.model.drop_path = 0.0;
  recipe.augment.mixup = 0.0;
  recipe.augment.cutmix = 0.0;
  recipe.train.epochs = 5;
  recipe.train.accumulation = 1;
  recipe.train.batch = 64;
  run(recipe, "one", 1);
  ASSERT_EQ(read_saved_run(folder("one").checkpoint()).progress.updates, 50);
  recipe.train.batch = 32;
  recipe.train.sync_batch_norm = true;
  run(recipe, "two", 2);
  EXPECT_LT(difference("one", "two"), kRounding);
}

TEST_F(Groups, ReplicasAreTheSameWhereverTheyRun) {
  Recipe recipe = double_recipe();
  recipe.train.batch = 2;
  recipe.train.replicas = 4;
  recipe.train.accumulation = 1;
  run(recipe, "one", 1);
  run(recipe, "two", 2);
  EXPECT_LT(difference("one", "two"), kRounding);
  run(recipe, "three", 3);  // one of them has two replicas
  EXPECT_LT(difference("one", "three"), kRounding);
  run(recipe, "four", 4);
  EXPECT_LT(difference("one", "four"), kRounding);
  recipe.train.replicas = 1;
  recipe.train.batch = 8;
  run(recipe, "whole", 1);
  EXPECT_GT(difference("one", "whole"), kRounding);  // or this test would show nothing
}

TEST_F(Groups, AccumulateBeforeTheyAverage) {
  Recipe recipe = double_recipe();
  recipe.train.batch = 2;
  recipe.train.accumulation = 3;
  recipe.train.replicas = 2;
  run(recipe, "one", 1);
  run(recipe, "two", 2);
  EXPECT_LT(difference("one", "two"), kRounding);
}

TEST_F(Groups, ResumeWithAnotherNumberOfProcesses) {
  Recipe recipe = double_recipe();
  recipe.train.accumulation = 1;
  run(recipe, "moved", 2, 1, 3);  // two replicas from now on; rank 1 is the one that stops
  EXPECT_EQ(read_saved_run(folder("moved").checkpoint()).progress.updates, 3);
  run(recipe, "moved", 1, 0, 4);
  run(recipe, "moved", 2);
  Recipe same = recipe;
  same.train.replicas = 2;
  run(same, "undisturbed", 1);
  EXPECT_LT(difference("undisturbed", "moved"), kRounding);
  // More processes than replicas: the same images and updates, cut into smaller batches.
  run(recipe, "grown", 2, 0, 3);
  run(recipe, "grown", 4);
  EXPECT_EQ(read_saved_run(folder("grown").checkpoint()).progress.updates,
            read_saved_run(folder("moved").checkpoint()).progress.updates);
}

TEST_F(Groups, UpdatesThatCannotBeSharedAreRefused) {
  Recipe recipe = double_recipe();
  recipe.train.replicas = 1;
  in_group(3, [&](const std::shared_ptr<distributed::Group>& group) {
    RunOptions options;
    options.out = folder("refused").path();
    options.group = group;
    try {
      train(recipe, data_.training, data_.validation, options);
      ADD_FAILURE();
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr("3 processes cannot share"));
    }
  });
}

/// Learns of three classes, one replica in each of two processes.
Learner shared_learner(const std::shared_ptr<distributed::Group>& group,
                       const std::optional<LossScaleOptions>& loss_scale = {}) {
  const Architecture architecture{
      .variant = "custom", .dims = {8, 16}, .depths = {1, 1}, .in_channels = 3, .num_classes = 3};
  const auto precision = loss_scale ? nn::Precision::fp16 : nn::Precision::full;
  nn::SpatialMamba model(architecture, nn::ModelOptions{.precision = precision});
  nn::initialise(*model, 1);
  LearnerOptions options;
  options.schedule = {.base_rate = 1e-3, .total_updates = 10};
  options.replicas = 2;
  options.loss_scale = loss_scale;
  return {model, options, group};
}

std::vector<torch::Tensor> copied(const NamedTensors& state) {
  std::vector<torch::Tensor> copies;
  for (const auto& [name, tensor] : state) copies.push_back(tensor.detach().clone());
  return copies;
}

TEST_F(Groups, OneUnusableLossSkipsTheUpdateOfAll) {
  in_group(2, [](const std::shared_ptr<distributed::Group>& group) {
    Learner learner = shared_learner(group);
    const auto state = nn::named_state(*learner.model());
    const std::vector<torch::Tensor> before = copied(state);
    torch::Tensor images = torch::rand({2, 3, 16, 16});
    if (group->rank() == 1) images[0][0][0][0] = std::nan("");
    learner.accumulate(images, torch::full({2, 3}, 1.0 / 3.0), false);
    const Update update = learner.update();
    EXPECT_EQ(update.problem, "rank 1: the loss is not a number");
    for (std::size_t i = 0; i < state.size(); ++i) {
      EXPECT_TRUE(torch::equal(state[i].second, before[i])) << state[i].first;
    }
    std::array<double, 1> totals = {1.0 + group->rank()};
    learner.accumulate(torch::rand({2, 3, 16, 16}), torch::full({2, 3}, 1.0 / 3.0), false);
    EXPECT_EQ(learner.update(totals).problem, "");
    EXPECT_EQ(totals[0], 3.0);
  });
}

/// Only rank 1 has gradients, which overflow until the scale, the same in both processes, is low enough.
TEST_F(Groups, OneOverflowSkipsTheUpdateOfAll) {
  in_group(2, [](const std::shared_ptr<distributed::Group>& group) {
    constexpr double kScale = 0x1p40;
    Learner learner = shared_learner(group, LossScaleOptions{.initial = kScale});
    const auto state = nn::named_state(*learner.model());
    const std::vector<torch::Tensor> before = copied(state);
    const torch::Tensor targets = torch::zeros({2, 3});
    targets.narrow(1, 0, 1).fill_(group->rank());
    const auto update = [&] {
      torch::manual_seed(1);
      learner.accumulate(torch::rand({2, 3, 16, 16}), targets, false);
      return learner.update();
    };
    Update made = update();
    EXPECT_TRUE(made.overflowed);
    EXPECT_EQ(learner.updater().loss_scale()->value(), kScale / 2);
    for (std::size_t i = 0; i < state.size(); ++i) {
      EXPECT_TRUE(torch::equal(state[i].second, before[i])) << state[i].first;
    }
    for (int tries = 0; tries < 40 && made.overflowed; ++tries) made = update();
    EXPECT_EQ(made.problem, "");
    const std::vector<std::string> scales = group->gather(fmt::format("{}", *made.loss_scale));
    EXPECT_EQ(scales[0], scales[1]);
    EXPECT_EQ(learner.updates(), 1);
  });
}

TEST_F(Groups, WhoLeavesIsNamedWithTheReason) {
  in_group(3, [](const std::shared_ptr<distributed::Group>& group) {
    torch::Tensor values = torch::ones({4});
    group->sum(values);
    EXPECT_EQ(values[0].item<float>(), 3.0F);
    if (group->rank() == 1) return group->leave("the disk is full");
    try {
      // Gloo's connections of a thread outlive it: what a death breaks at once needs the time-out here.
      group->guard([] { throw std::runtime_error("Connection closed by peer"); });
      ADD_FAILURE();
    } catch (const launch::LostRank& lost) {
      EXPECT_STREQ(lost.what(), "rank 1 stopped: the disk is full");
    }
  });
}

}  // namespace
}  // namespace spatialmamba::train
