// Runs of segmentation and detection in several processes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "base/error.h"
#include "base/file.h"
#include "data/scene_files.h"
#include "nn/state_dict.h"
#include "support/temporary_folder.h"
#include "train/detection_trainer.h"
#include "train/groups.h"
#include "train/iteration_position.h"
#include "train/run_folder.h"
#include "train/segmentation_trainer.h"

namespace spatialmamba::train {
namespace {

using test::in_group;
using test::kRounding;
using testing::HasSubstr;

constexpr int kSide = 64;

/// A network that draws random numbers (drop path, dropout) and keeps an average; in double precision.
Recipe small_recipe(const std::string& task) {
  Recipe recipe = parse_recipe(R"(
model: {variant: custom, dims: [8, 12, 16, 16], depths: [1, 1, 1, 1], drop_path: 0.2}
data: {workers: 1}
segmentation: {channels: 8, auxiliary_channels: 8, zero_label: background, fit: [64, 64], ratio: [1, 1], crop: 64}
detection: {channels: 8, fc_channels: 16, fit: [64, 64], least_side: 1, rpn_samples: 16, box_samples: 16}
train: {iterations: 6, batch: 2, seed: 5, precision: fp64, ema_decay: 0.8}
optimizer: {rate: 5e-3, rate_batch: 0, warmup_iterations: 2}
output: {evaluate_iterations: 3, log_every: 1}
)",
                               "small recipe");
  override_key(recipe, "model.task=" + task);
  return recipe;
}

data::DetectionDataset objects_in(const std::filesystem::path& scenes, data::Split split) {
  const data::CocoPlace place = data::find_coco(scenes, split);
  return data::detection_dataset(std::make_shared<const data::CocoFile>(data::read_coco(place.annotations)),
                                 place.images,
                                 {.only_annotated = split == data::Split::train, .least_side = 1});
}

class IterationGroups : public testing::TestWithParam<std::string> {
 protected:
  IterationGroups() : recipe_(small_recipe(GetParam())) { at::set_num_threads(1); }

  static void SetUpTestSuite() {
    scenes_ = std::make_unique<test::TemporaryFolder>();
    data::write_fashion_scenes(scenes_->path(), data::default_fashion_mnist_folder(), {},
                               {.train = 14, .validation = 5, .size = kSide}, {});
  }
  static void TearDownTestSuite() { scenes_.reset(); }

  RunFolder folder(const std::string& name) const { return RunFolder(temporary_.path() / name); }

  static RunResult train_task(const Recipe& recipe, const RunOptions& options) {
    if (GetParam() == "detection") {
      return train_detection(recipe, objects_in(scenes_->path(), data::Split::train),
                             objects_in(scenes_->path(), data::Split::validation), options);
    }
    const data::SegmentationOptions how{.zero = data::ZeroLabel::first_class};
    return train_segmentation(recipe, data::open_segmentation(scenes_->path(), data::Split::train, how),
                              data::open_segmentation(scenes_->path(), data::Split::validation, how),
                              options);
  }

  /// Detection's proposals pass through single precision, whose last bit another order of sums may flip.
  static double rounding() { return GetParam() == "detection" ? 1e-8 : kRounding; }

  /// Continues the run of that name; stops when `rank` is asked for the `stop_at`-th time.
  void run(const Recipe& recipe, const std::string& name, int processes, int rank = 0, int stop_at = -1) {
    const auto train_one = [&](const std::shared_ptr<distributed::Group>& group) {
      const RunOptions options = test::stoppable(folder(name).path(), group, rank, stop_at);
      EXPECT_EQ(train_task(recipe, options).interrupted, stop_at >= 0);
    };
    if (processes == 1) return train_one(nullptr);
    in_group(processes, train_one);
  }

  IterationPosition position(const std::string& name) const {
    const std::filesystem::path path = folder(name).checkpoint();
    return saved_position(read_safetensors(path), path);
  }

  /// The largest difference between the tensors, losses and scores of two runs.
  double difference(const std::string& first, const std::string& second) const {
    const Weights a = read_safetensors(folder(first).checkpoint());
    const Weights b = read_safetensors(folder(second).checkpoint());
    double worst = 0.0;
    for (const auto& [name, tensor] : a.tensors) {
      const torch::Tensor left = nn::to_torch(tensor).to(torch::kFloat64);
      const torch::Tensor right = nn::to_torch(b.tensors.at(name)).to(torch::kFloat64);
      worst = std::max(worst, (left - right).abs().max().item<double>());
    }
    const std::vector<IterationRecord> left = position(first).history;
    const std::vector<IterationRecord> right = position(second).history;
    EXPECT_EQ(left.size(), right.size());
    for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
      for (auto values : {&IterationRecord::losses, &IterationRecord::scores}) {
        const NamedValues& ours = left[i].*values;
        const NamedValues& theirs = right[i].*values;
        for (std::size_t k = 0; k < ours.size(); ++k) {
          worst = std::max(worst, std::abs(ours[k].second - theirs[k].second));
        }
      }
    }
    return worst;
  }

  inline static std::unique_ptr<test::TemporaryFolder> scenes_;
  test::TemporaryFolder temporary_;
  Recipe recipe_;
};

TEST_P(IterationGroups, ReplicasAreTheSameWhereverTheyRun) {
  recipe_.train.replicas = 3;
  recipe_.train.accumulation = 2;
  run(recipe_, "one", 1);
  run(recipe_, "two", 2);  // one of them has two replicas
  EXPECT_LT(difference("one", "two"), rounding());
  EXPECT_TRUE(std::filesystem::exists(folder("two").summary()));
  run(recipe_, "three", 3);
  EXPECT_LT(difference("one", "three"), rounding());
  recipe_.train.replicas = 1;
  recipe_.train.batch = 6;
  run(recipe_, "whole", 1);
  EXPECT_GT(difference("one", "whole"), rounding());  // or this test would show nothing
}

TEST_P(IterationGroups, NormalisedTogetherTwoHalvesAreOneBatch) {
  if (GetParam() == "detection") GTEST_SKIP() << "each replica divides by its own number of boxes";
  recipe_.model.drop_path = 0.0;
  recipe_.segmentation.dropout = 0.0;
  recipe_.train.batch = 4;
  recipe_.train.replicas = 1;
  recipe_.train.sync_batch_norm = true;
  run(recipe_, "one", 1);
  run(recipe_, "two", 2);
  EXPECT_LT(difference("one", "two"), kRounding);
  recipe_.train.sync_batch_norm = false;
  run(recipe_, "apart", 2);
  EXPECT_GT(difference("one", "apart"), kRounding);
}

TEST_P(IterationGroups, ResumeWithAnotherNumberOfProcesses) {
  run(recipe_, "moved", 2, 1, 2);  // two replicas from now on; rank 1 is the one that stops
  EXPECT_EQ(position("moved").iteration, 2);
  run(recipe_, "moved", 1, 0, 3);
  run(recipe_, "moved", 2);
  recipe_.train.replicas = 2;
  run(recipe_, "undisturbed", 1);
  EXPECT_LT(difference("undisturbed", "moved"), rounding());
  // With the same number of processes to the last bit.
  run(recipe_, "stopped", 2, 0, 4);
  run(recipe_, "stopped", 2);
  run(recipe_, "whole", 2);
  EXPECT_EQ(difference("whole", "stopped"), 0.0);
}

/// Also across processes, while the loss scale goes up and down.
TEST_P(IterationGroups, HalfPrecisionResumesBitForBitWithItsScale) {
  recipe_.train.precision = "fp16";
  recipe_.train.loss_scale = 0x1p26;
  recipe_.train.loss_scale_interval = 2;
  recipe_.train.iterations = 16;
  recipe_.train.bad_steps = 1;
  recipe_.output.evaluate_iterations = 8;
  const auto scale_of = [&](const std::string& name) {
    return read_safetensors(folder(name).checkpoint()).metadata.at("loss_scale");
  };
  for (const int processes : {1, 2}) {
    const std::string whole = fmt::format("whole_{}", processes);
    const std::string parts = fmt::format("parts_{}", processes);
    run(recipe_, whole, processes);
    run(recipe_, parts, processes, 0, 2);
    run(recipe_, parts, processes, processes - 1, 8);
    run(recipe_, parts, processes);
    EXPECT_EQ(difference(whole, parts), 0.0);
    EXPECT_EQ(scale_of(whole), scale_of(parts));
    EXPECT_GT(position(whole).skipped.overflowed, 1);
    EXPECT_EQ(position(whole).skipped.overflowed, position(parts).skipped.overflowed);
    EXPECT_GT(position(whole).updates, 1);
  }
}

TEST_P(IterationGroups, OneUnusableLossSkipsTheIterationOfAll) {
  recipe_.train.loss_limit = 1e-6;
  recipe_.train.bad_steps = 100;
  run(recipe_, "skipped", 2);
  EXPECT_EQ(position("skipped").updates, 0);
  EXPECT_EQ(position("skipped").skipped.total, recipe_.train.iterations);
}

/// Weights that fit nothing, at all processes or at one of them, cost the run that is there nothing.
TEST_P(IterationGroups, ARefusedRunReplacesNothing) {
  run(recipe_, "old", 1);
  const auto before = read_file(folder("old").checkpoint());
  Weights foreign;
  foreign.tensors.add("foreign", Tensor(DType::f32, {2}));
  const std::filesystem::path weights = temporary_.path() / "foreign.safetensors";
  write_safetensors(weights, foreign);
  const auto refused = [&](const std::shared_ptr<distributed::Group>& group, bool unfit) {
    RunOptions options;
    options.out = folder("old").path();
    options.force = true;
    options.group = group;
    if (unfit) options.finetune = weights;
    EXPECT_THROW(train_task(recipe_, options), Error);
  };
  refused(nullptr, true);
  in_group(2, [&](const std::shared_ptr<distributed::Group>& group) { refused(group, true); });
  in_group(2, [&](const std::shared_ptr<distributed::Group>& group) { refused(group, group->rank() == 1); });
  EXPECT_EQ(read_file(folder("old").checkpoint()), before);
  EXPECT_TRUE(std::filesystem::exists(folder("old").best()));
}

TEST_P(IterationGroups, BatchesThatCannotBeSharedAreRefused) {
  recipe_.train.replicas = 1;  // of two images
  in_group(3, [&](const std::shared_ptr<distributed::Group>& group) {
    RunOptions options;
    options.out = folder("refused").path();
    options.group = group;
    try {
      train_task(recipe_, options);
      ADD_FAILURE();
    } catch (const UsageError& error) {
      EXPECT_THAT(error.what(), HasSubstr("3 processes cannot share"));
    }
  });
}

INSTANTIATE_TEST_SUITE_P(Tasks, IterationGroups, testing::Values("segmentation", "detection"),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace spatialmamba::train
