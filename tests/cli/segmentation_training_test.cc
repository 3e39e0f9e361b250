// `train` on a segmentor: a run that is stopped and resumed, what it starts from, what it survives.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "cli/scene_training.h"
#include "image/codec.h"
#include "spatialmamba/architecture.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::test {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;

/// Scenes of 48 x 48 pixels, and runs of a few iterations on them.
class SegmentationTraining : public SceneTraining {
 protected:
  SegmentationTraining() : SceneTraining(6, 2, 48) {}

  std::vector<std::string> words(const std::string& out, const std::vector<std::string>& more) const {
    std::vector<std::string> keys = {"model.variant=custom",
                                     "model.dims=[8,12,16]",
                                     "model.depths=[1,1,1]",
                                     "segmentation.channels=8",
                                     "segmentation.auxiliary_channels=8",
                                     "segmentation.crop=48",
                                     "segmentation.fit=[48,48]",
                                     "train.iterations=6",
                                     "train.batch=2",
                                     "optimizer.warmup_iterations=2",
                                     "output.evaluate_iterations=3"};
    keys.insert(keys.end(), more.begin(), more.end());
    return train_words("fashion_scenes_segmentation.yaml", out, keys);
  }

  Outcome train(const std::string& out, const std::vector<std::string>& more) const {
    return run_program(words(out, more));
  }
};

TEST_F(SegmentationTraining, LeavesEverythingAndResumesInTheSameBits) {
  const Outcome whole = train("whole", {"--json", "train.accumulation=2"});
  ASSERT_EQ(whole.code, 0) << whole.error;
  for (const char* key : {"mIoU", "mAcc", "aAcc", "weights", "per_class_iou", "peak_memory_mib"}) {
    EXPECT_TRUE(whole.json().contains(key)) << key;
  }
  for (const char* file : {"log.csv", "log.jsonl", "curves.png", "recipe.yaml", "summary.json"}) {
    EXPECT_TRUE(fs::exists(path("whole") / file)) << file;
  }
  // Each call makes one update and stops.
  for (int stop = 0; stop < 4; ++stop) {
    const Outcome part =
        train("parts", {"--resume", "--max-minutes", "0.000001", "train.accumulation=2", "data.workers=0"});
    ASSERT_EQ(part.code, 0) << part.error;
    EXPECT_FALSE(fs::exists(path("parts") / "summary.json"));
  }
  const Outcome rest = train("parts", {"--resume", "train.accumulation=2"});
  ASSERT_EQ(rest.code, 0) << rest.error;
  EXPECT_EQ(difference("whole", "parts"), "");
  for (const char* file : {"best.safetensors", "best_ema.safetensors"}) {
    EXPECT_EQ(read_file(path("whole") / file), read_file(path("parts") / file)) << file;
  }
  const Outcome other = train("parts", {"--resume", "--seed", "9", "train.accumulation=2"});
  EXPECT_EQ(other.code, 1);
  EXPECT_THAT(other.error, HasSubstr("train.seed"));
  EXPECT_NE(train("parts", {}).code, 0) << "overwrites a run";
}

TEST_F(SegmentationTraining, SeveralProcessesResumeInTheSameBits) {
  const auto launched = [&](const std::string& out, const std::vector<std::string>& more) {
    std::vector<std::string> command = {"launch", "-n", "2"};
    const std::vector<std::string> rest = words(out, more);
    command.insert(command.end(), rest.begin(), rest.end());
    return run_program(command);
  };
  const Outcome whole = launched("whole", {"--json"});
  ASSERT_EQ(whole.code, 0) << whole.error;
  EXPECT_TRUE(whole.json().contains("mIoU"));  // one of them alone speaks
  EXPECT_TRUE(fs::exists(path("whole") / "rank_1.log"));
  ASSERT_EQ(launched("parts", {"--max-minutes", "0.000001"}).code, 0);
  const Outcome rest = launched("parts", {"--resume"});
  ASSERT_EQ(rest.code, 0) << rest.error;
  EXPECT_EQ(difference("whole", "parts"), "");
}

TEST_F(SegmentationTraining, WithoutAverageAndInDouble) {
  const Outcome outcome =
      train("run", {"train.ema=false", "train.precision=fp64", "train.iterations=4", "train.seed=3"});
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_FALSE(fs::exists(path("run") / "best_ema.safetensors"));
}

/// A classifier of grey pictures with the same stages, all of whose values are `value`.
Weights grey_classifier(float value) {
  const Architecture architecture{
      .variant = "custom", .dims = {8, 12, 16}, .depths = {1, 1, 1}, .in_channels = 1, .num_classes = 4};
  Weights weights;
  for (const TensorSpec& spec : tensor_specs(architecture)) {
    Tensor tensor(spec.dtype, spec.shape);
    if (spec.dtype == DType::f32) std::fill_n(tensor.mutable_data<float>(), tensor.numel(), value);
    weights.tensors.add(spec.name, tensor);
  }
  return weights;
}

TEST_F(SegmentationTraining, StartsFromAClassifier) {
  constexpr float kValue = 0.25F;
  write_safetensors(path("classifier.safetensors"), grey_classifier(kValue));
  const Outcome outcome =
      train("run", {"--finetune", path("classifier.safetensors").string(), "train.iterations=1",
                    "optimizer.warmup_iterations=0", "optimizer.rate=0"});
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("a classifier, the backbone starts from it"));
  const Weights started = read_safetensors(path("run") / "best.safetensors");
  for (const TensorSpec& spec : tensor_specs(infer_architecture(grey_classifier(kValue).tensors))) {
    if (!spec.trainable || spec.name.starts_with("norm.") || spec.name.starts_with("head.")) continue;
    const bool first = spec.name == "patch_embed.conv1.conv.weight";  // spread over three colours
    const std::vector<float> values = started.tensors.at("backbone." + spec.name).values<float>();
    EXPECT_FLOAT_EQ(values.front(), first ? kValue / 3.0F : kValue) << spec.name;
  }
}

TEST_F(SegmentationTraining, UnusableUpdatesAreSkippedAndTooManyInARowEndTheRun) {
  const Outcome patient = train("patient", {"train.loss_limit=1e-6", "train.bad_steps=100", "--json"});
  ASSERT_EQ(patient.code, 0) << patient.error;
  EXPECT_EQ(patient.json().at("skipped_updates"), 6);
  EXPECT_EQ(patient.json().at("updates"), 0);
  const Outcome strict = train("strict", {"train.loss_limit=1e-6", "train.bad_steps=2"});
  EXPECT_EQ(strict.code, 1);
  EXPECT_THAT(strict.error, AllOf(HasSubstr("update 2: skipped 2 times in a row"),
                                  HasSubstr("above the limit"), HasSubstr("all layers are finite")));
}

TEST_F(SegmentationTraining, BrokenMasksAreLeftOutOrStopTheRun) {
  const auto masks = path("scenes") / "annotations/train";
  const fs::path broken = fs::directory_iterator(masks)->path();
  image::write_image(broken, image::Image(7, 5, 1));  // of another size than its picture
  image::write_image(masks / "alone.png", image::Image(48, 48, 1));
  const Outcome outcome = train("run", {"--json"});
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_THAT(outcome.error, AllOf(HasSubstr("skipped: "), HasSubstr(broken.filename().string()),
                                   HasSubstr("alone.png: the label map has no picture")));
  EXPECT_EQ(outcome.json().at("broken_files"), 2);  // each once, although every epoch meets them
  const Outcome strict = train("strict", {"--strict"});
  EXPECT_EQ(strict.code, 1);
  EXPECT_THAT(strict.error, HasSubstr(broken.filename().string()));
}

TEST_F(SegmentationTraining, WhatOnlyClassifiersHaveIsRefused) {
  for (const char* key : {"model.fusion=off", "train.device=cuda", "train.frozen_stages=1",
                          "optimizer.layer_decay=0.5", "train.mesa=1", "segmentation.fit=[1]"}) {
    const Outcome outcome = train("run", {key});
    EXPECT_EQ(outcome.code, 2) << key;
    EXPECT_THAT(outcome.error, HasSubstr(std::string(key).substr(0, std::string(key).find('=')))) << key;
  }
}

}  // namespace
}  // namespace spatialmamba::test
