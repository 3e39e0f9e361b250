// Training of Mask R-CNN against mmdetection: steps of AdamW, learning rates, decay; and batches of our own.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>

#include "nn/golden_tensors.h"
#include "nn/nano_detector.h"
#include "train/detection_batches.h"
#include "train/detection_model.h"
#include "train/model_values.h"
#include "train/schedule.h"
#include "train/updater.h"

namespace spatialmamba::test {
namespace {

using nlohmann::json;

constexpr double kTraceTolerance = 2e-3;  // of losses relative, of weights absolute

/// One batch of a recorded trace: the first is the training batch of the other goldens.
struct RecordedBatch {
  torch::Tensor images;
  std::vector<nn::DetectionTarget> targets;
};

std::vector<RecordedBatch> recorded_batches() {
  const TensorMap batches = detection_golden("nano/trace_batches");
  const TensorMap first = detection_golden("nano/train_batch");
  const json metas = detection_json("nano/trace_batches");
  std::vector<RecordedBatch> recorded;
  for (std::size_t i = 0; i < metas.size(); ++i) {
    const std::string prefix = "batch" + std::to_string(i) + ".";
    const bool own = batches.contains(prefix + "inputs");
    const TensorMap& tensors = own ? batches : first;
    recorded.push_back({nn::to_torch(tensors.at((own ? prefix : "") + "inputs")),
                        golden_targets(tensors, own ? prefix : "", metas.at(i))});
  }
  return recorded;
}

train::StepSchedule schedule_of(const json& trace) {
  train::StepSchedule schedule{.base_rate = trace.at("lr"),
                               .warmup_factor = trace.at("start_factor"),
                               .warmup_iterations = trace.at("warmup_end")};
  if (!trace.at("milestones").is_null())
    schedule.milestones = trace.at("milestones").get<std::vector<std::int64_t>>();
  return schedule;
}

/// Biases in front of a batch norm: their gradient is rounding alone, which AdamW makes steps of.
bool is_meaningless(const std::string& name) {
  return name.ends_with("downsample.conv.2.conv.bias");
}

/// A recorded trace, repeated. Deviations are in units of the tolerance.
class RepeatedTrace {
 public:
  RepeatedTrace(const json& trace, const std::vector<RecordedBatch>& batches, nn::Detector model)
      : model_(std::move(model)), updater_(make_updater(trace)), schedule_(schedule_of(trace)) {
    model_->train();
    for (const json& row : trace.at("rows")) {
      step(row, batches[row.at("step").get<std::size_t>() % batches.size()]);
    }
  }

  double loss_deviation() const { return loss_deviation_; }

  /// From the weights that the trace ended in. AdamW makes steps of the full rate of gradients that are
  /// rounding alone: weights that never had another are passed over.
  double weight_deviation(const TensorMap& final_state) const {
    constexpr double kNoise = 1e-3;
    double worst = 0.0;
    for (const auto& entry : model_->named_parameters()) {
      if (is_meaningless(entry.key())) continue;
      const torch::Tensor difference = entry.value().detach() - nn::to_torch(final_state.at(entry.key()));
      const torch::Tensor known = largest_.at(entry.key()) > kNoise;
      worst = std::max(worst, (difference.abs() * known).max().item<double>() / kTraceTolerance);
    }
    return worst;
  }

 private:
  train::Updater make_updater(const json& trace) const {
    const train::NamedTensors state = train::named_state(*model_);
    const train::AdamWOptions adamw{.beta1 = trace.at("betas").at(0),
                                    .beta2 = trace.at("betas").at(1),
                                    .epsilon = trace.at("eps"),
                                    .weight_decay = trace.at("weight_decay")};
    return {train::AdamW(train::group_by_norm(state), adamw), state, {}, {.clip_norm = 0.0}};
  }

  void step(const json& row, const RecordedBatch& batch) {
    EXPECT_TRUE(updater_.begin_pass());
    EverythingChooser chooser;
    const torch::Tensor loss =
        nn::detection_losses(*model_, batch.images, batch.targets, {}, chooser).total();
    const auto expected = row.at("loss").get<double>();
    loss_deviation_ =
        std::max(loss_deviation_, std::abs(loss.item<double>() - expected) / (kTraceTolerance * expected));
    EXPECT_TRUE(updater_.accept(loss.item<double>()));
    loss.backward();
    note_gradients();
    const auto rate = row.at("lr").at(0).get<double>();
    EXPECT_NEAR(updater_.apply(schedule_.at(row.at("step"))).learning_rate, rate, 1e-9 * rate);
  }

  /// Keeps the largest gradient of each weight, in units of the root mean square of its tensor's.
  void note_gradients() {
    for (const auto& entry : model_->named_parameters()) {
      const torch::Tensor gradient = entry.value().grad();
      const torch::Tensor share = gradient.abs() / gradient.square().mean().sqrt();
      torch::Tensor& largest = largest_[entry.key()];
      largest = largest.defined() ? torch::maximum(largest, share) : share;
    }
  }

  nn::Detector model_;
  train::Updater updater_;
  train::StepSchedule schedule_;
  std::map<std::string, torch::Tensor> largest_;
  double loss_deviation_ = 0.0;
};

TEST(DetectionTraining, IsTheReferencesStepByStep) {
  if (!has_golden("detection/nano/trace_batches.safetensors")) GTEST_SKIP();
  const std::vector<RecordedBatch> batches = recorded_batches();
  int repeated = 0;
  for (const std::filesystem::path& path : golden_files("detection/nano", ".json")) {
    const std::string name = path.stem().string();
    if (!name.starts_with("trace_") || name == "trace_batches") continue;
    SCOPED_TRACE(name);
    const json trace = json::parse(read_text(path));
    const std::filesystem::path end = path.parent_path() / (name + "_final.safetensors");
    double best = std::numeric_limits<double>::infinity();
    for (std::uint64_t attempt = 0; attempt < kAttempts && !(best <= 1.0); ++attempt) {
      nn::Detector model = nano_detector();
      if (attempt > 0) nudge(*model, attempt);
      const RepeatedTrace repetition(trace, batches, model);
      double deviation = repetition.loss_deviation();
      if (std::filesystem::exists(end)) {
        deviation = std::max(deviation, repetition.weight_deviation(read_safetensors(end).tensors));
      }
      best = std::min(best, deviation);
    }
    EXPECT_LE(best, 1.0);
    ++repeated;
  }
  EXPECT_GT(repeated, 0);
}

TEST(DetectionTraining, DecaysTheParametersThatTheReferenceDecays) {
  if (!has_golden("detection/nano/param_groups.json")) GTEST_SKIP();
  nn::Detector model = nano_detector();
  const train::ParameterGroups groups = train::group_by_norm(train::named_state(*model));
  std::map<std::string, bool> decays;
  for (const auto& [name, tensor] : groups.decay) decays[name] = true;
  for (const auto& [name, tensor] : groups.no_decay) decays[name] = false;
  const json expected = detection_json("nano/param_groups");
  ASSERT_EQ(expected.size(), decays.size());
  for (const json& entry : expected) {
    const auto name = entry.at("name").get<std::string>();
    ASSERT_TRUE(decays.contains(name)) << name;
    EXPECT_EQ(decays[name], entry.at("weight_decay").get<double>() > 0.0) << name;
  }
}

TEST(StepSchedule, WarmsUpAndDropsWhereItIsTold) {
  const train::StepSchedule schedule{
      .base_rate = 1.0, .warmup_factor = 0.1, .warmup_iterations = 10, .milestones = {20, 30}};
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.1);
  EXPECT_DOUBLE_EQ(schedule.at(9), 1.0);  // not in the iteration behind the warm-up
  EXPECT_DOUBLE_EQ(schedule.at(19), 1.0);
  EXPECT_DOUBLE_EQ(schedule.at(20), 0.1);
  EXPECT_NEAR(schedule.at(1000), 0.01, 1e-15);
  EXPECT_THROW(train::validate(train::StepSchedule{.milestones = {30, 20}}), UsageError);
}

/// Rows of (epoch, iteration, rate) of schedules that count so many iterations per epoch.
TEST(StepSchedule, IsThatOfBothPublishedSchedules) {
  const json recorded = detection_json("dataset/parsed").at("lr_schedules");
  const auto epoch = recorded.at("iterations_per_epoch").get<std::int64_t>();
  const std::map<std::string, std::vector<std::int64_t>> drops = {{"one_x", {8, 11}}, {"three_x", {27, 33}}};
  for (const auto& [name, epochs] : drops) {
    train::StepSchedule schedule;
    for (const std::int64_t drop : epochs) schedule.milestones.push_back(drop * epoch);
    ASSERT_FALSE(recorded.at(name).empty());
    for (const json& row : recorded.at(name)) {
      const auto expected = row.at(2).get<double>();
      EXPECT_NEAR(schedule.at(row.at(1).get<std::int64_t>()), expected, 1e-9 * expected) << name << row;
    }
  }
}

data::DetectionPicture picture_of(int width, int height, const std::vector<detection::Box>& boxes) {
  data::DetectionPicture sample{image::Image(width, height, 3), {}};
  for (const detection::Box& box : boxes) {
    sample.objects.push_back({.box = box, .label = 1, .mask = image::Image(width, height, 1)});
    sample.objects.back().mask.pixels.back() = 1;
  }
  return sample;
}

TEST(Collate, PadsPicturesAndMasksToTheLargest) {
  std::vector<data::DetectionPicture> pictures = {picture_of(40, 30, {{1, 2, 9, 12}}),
                                                  picture_of(20, 70, {{3, 4, 8, 9}, {0, 0, 20, 70}})};
  pictures[1].objects[0].ignored = true;
  const train::DetectionBatch batch = train::collate(pictures, {});
  EXPECT_EQ(batch.images.sizes().vec(), (std::vector<std::int64_t>{2, 3, 96, 64}));
  ASSERT_EQ(batch.targets.size(), 2U);
  EXPECT_EQ(batch.targets[0].image.width, 40);
  EXPECT_EQ(batch.targets[0].padded.width, 64);
  EXPECT_EQ(batch.targets[1].padded.width, 32);
  EXPECT_EQ(batch.targets[1].boxes.size(), 1U);
  EXPECT_EQ(batch.targets[1].ignored.size(), 1U);
  // The last pixel of the first picture's mask, at the batch's width.
  const auto& masks = batch.targets[0].masks;
  ASSERT_EQ(masks.size(), 96U * 64U);
  EXPECT_EQ(masks[29 * 64 + 39], 1);
  EXPECT_EQ(std::count(masks.begin(), masks.end(), 1), 1);
  // Padding is zero behind the normalisation.
  EXPECT_EQ(batch.images[0].slice(1, 30).abs().sum().item<double>(), 0.0);
}

}  // namespace
}  // namespace spatialmamba::test
