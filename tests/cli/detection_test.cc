// The verbs on a detector: the official checkpoint as it is, the reference's figures, detections as pictures
// and as COCO's files; runs that are stopped and resumed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "base/file.h"
#include "cli/scene_training.h"
#include "image/codec.h"
#include "image/rle.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::HasSubstr;

std::string nano() {
  return golden("detection/nano/weights.safetensors").string();
}

json read_json(const std::string& relative) {
  return json::parse(read_text(golden(relative)));
}

/// Scenes of 64 x 64 pixels.
class Scenes : public SceneTraining {
 protected:
  Scenes() : SceneTraining(8, 3, 64) {}

  std::string picture() const {
    for (const auto& entry : fs::directory_iterator(path("scenes/images/val"))) return entry.path().string();
    return {};
  }
};

using DetectionVerbs = Scenes;

TEST_F(DetectionVerbs, InfoCountsAsThePaperDoes) {
  for (const fs::path& file : golden_files("detection/flops", ".json")) {
    const json expected = json::parse(read_text(file));
    const auto variant = expected.at("size").get<std::string>();
    SCOPED_TRACE(variant);
    const json info = run_program({"info", "--variant", variant, "--task", "detection", "--json"}).json();
    EXPECT_EQ(info.at("task"), "detection");
    EXPECT_EQ(info.at("parameters"), expected.at("params"));
    EXPECT_EQ(info.at("flops"), expected.at("raw_plus_scan_plus_three_dilated"));
  }
  EXPECT_EQ(run_program({"info", nano(), "--json"}).json().at("task"), "detection");
}

TEST_F(DetectionVerbs, ForwardWritesTheGoldensMaps) {
  for (const fs::path& file : golden_files("detection/nano", ".safetensors")) {
    if (!file.filename().string().starts_with("eval_")) continue;
    SCOPED_TRACE(file.filename());
    const TensorMap expected = read_safetensors(file).tensors;
    Weights input;
    input.tensors.add("input", expected.at("inputs"));
    const std::string in = path("in.safetensors").string();
    const std::string out = path("out.safetensors").string();
    write_safetensors(in, input);
    ASSERT_EQ(run_program({"forward", "-w", nano(), "-i", in, "-o", out, "--json"}).code, 0);
    const TensorMap maps = read_safetensors(out).tensors;
    EXPECT_TRUE(maps.contains("img0.det_bboxes"));
    EXPECT_TRUE(maps.contains("fpn.4"));
    for (const auto& [name, map] : maps) {
      const Tensor* golden_map = expected.find(name);
      if (golden_map == nullptr || name.starts_with("img")) continue;  // those know of the padding
      EXPECT_LE(relative_deviation(as_double(map), as_double(*golden_map)), 1e-5) << name;
    }
  }
}

TEST_F(DetectionVerbs, EvalPrintsTheReferencesFigures) {
  if (!has_golden("detection/toy/val/annotations.json")) GTEST_SKIP();
  const json metrics = read_json("detection/nano/toyval_metrics.json");
  const json result =
      run_program({"eval", "-w", nano(), "-d", golden("detection/toy/val/annotations.json").string(), "--fit",
                   "160x96", "--out", path("report").string(), "--json"})
          .json();
  const std::map<std::string, std::string> kinds = {{"box", "bbox"}, {"mask", "segm"}};
  for (const auto& [ours, theirs] : kinds) {
    for (const char* figure : {"", "50", "75", "_s", "_m", "_l"}) {
      const std::string separator = std::string(figure).size() == 2 && figure[0] != '_' ? "_" : "";
      const double expected = metrics.at("coco/" + theirs + "_mAP" + separator + figure);
      EXPECT_NEAR(result.at(ours).at(std::string("AP") + figure).get<double>(), expected, 0.005)
          << ours << figure;
    }
  }
  EXPECT_TRUE(fs::exists(path("report") / "results.json"));
  EXPECT_EQ(json::parse(read_text(path("report") / "eval.json")), result);

  // What eval wrote is a result file like any other.
  const json again = run_program({"eval", "--results", (path("report") / "results.json").string(), "-d",
                                  golden("detection/toy/val/annotations.json").string(), "--limits", "100",
                                  "300", "1000", "--json"})
                         .json();
  EXPECT_EQ(again.at("box"), result.at("box"));
}

TEST_F(DetectionVerbs, EvalOfResultsPrintsPycocotoolsFigures) {
  const json expected = read_json("detection/cocoeval/summary.json").at("bbox.default_maxdets_1_10_100");
  const json result = run_program({"eval", "--results", golden("detection/cocoeval/results.json").string(),
                                   "-d", golden("detection/cocoeval/gt.json").string(), "--json"})
                          .json();
  std::vector<double> stats;
  for (const char* name :
       {"AP", "AP50", "AP75", "AP_s", "AP_m", "AP_l", "AR_1", "AR_2", "AR_3", "AR_s", "AR_m", "AR_l"}) {
    stats.push_back(result.at("box").at(name).get<double>());
  }
  ASSERT_EQ(expected.at("stats").size(), stats.size());
  for (std::size_t i = 0; i < stats.size(); ++i) {
    EXPECT_NEAR(stats[i], expected.at("stats").at(i).get<double>(), 1e-9) << i;
  }
  for (const json& entry : result.at("box").at("per_class")) {
    const json& wanted = expected.at("per_class").at(std::to_string(entry.at("category").get<int>()));
    EXPECT_NEAR(entry.at("AP").get<double>(), wanted.at("AP").get<double>(), 1e-9);
  }
}

TEST_F(DetectionVerbs, PredictDrawsAndWritesCocosForm) {
  const json result = run_program({"predict", "-w", nano(), "--score", "0.01", "--out",
                                   path("found").string(), "--json", picture()})
                          .json();
  EXPECT_EQ(result.at("task"), "detection");
  const json& answer = result.at("images").at(0);
  const json list = json::parse(read_text(path("found") / "results.json"));
  ASSERT_EQ(list.size(), answer.at("detections").size());
  for (const json& found : answer.at("detections")) {
    const json& mask = found.at("segmentation");
    const image::Rle rle = image::rle_from_text(mask.at("counts").get<std::string>(), mask.at("size").at(0),
                                                mask.at("size").at(1));
    EXPECT_EQ(rle.height, answer.at("height"));
    EXPECT_GE(found.at("score").get<double>(), 0.01);
    EXPECT_GE(found.at("bbox").at(2).get<double>(), 0.0);
  }
  EXPECT_EQ(image::read_image(answer.at("masks").get<std::string>()).width, answer.at("width"));
  EXPECT_GE(image::read_image(answer.at("annotated").get<std::string>()).width, answer.at("width"));
}

TEST_F(DetectionVerbs, MaskPicturesTellAnyNumberOfObjectsApart) {
  const json answer = run_program({"predict", "-w", nano(), "--score", "0", "--max-detections", "-1", "--out",
                                   path("all").string(), "--json", picture()})
                          .json()
                          .at("images")
                          .at(0);
  const json& list = answer.at("detections");
  ASSERT_GT(list.size(), 255U);
  // The surest on top.
  std::vector<std::size_t> owners;
  for (std::size_t i = list.size(); i-- > 0;) {
    const json& mask = list.at(i).at("segmentation");
    const auto inside = image::decode_mask(image::rle_from_text(
        mask.at("counts").get<std::string>(), mask.at("size").at(0), mask.at("size").at(1)));
    owners.resize(inside.size());
    for (std::size_t p = 0; p < inside.size(); ++p) {
      if (inside[p] != 0) owners[p] = i + 1;
    }
  }
  ASSERT_GT(*std::ranges::max_element(owners), 255U);
  // 16 bits, of which a reader of pictures keeps the higher ones.
  const image::Image shown = image::read_image(answer.at("masks").get<std::string>(), {.channels = 0});
  ASSERT_EQ(shown.pixels.size(), owners.size());
  for (std::size_t p = 0; p < owners.size(); ++p) ASSERT_EQ(shown.pixels[p], owners[p] >> 8U) << p;
}

TEST_F(DetectionVerbs, NoDetectionGoesWithoutAWord) {
  const std::vector<std::string> all = {"predict", "-w", nano(), "--score", "0", "--json", picture()};
  std::vector<std::string> few = all;
  few.insert(few.end(), {"--max-detections", "2"});
  std::vector<std::string> unlimited = all;
  unlimited.insert(unlimited.end(), {"--max-detections", "-1"});
  const json capped = run_program(few).json().at("images").at(0);
  const json whole = run_program(unlimited).json().at("images").at(0);
  EXPECT_EQ(capped.at("detections").size(), 2U);
  EXPECT_EQ(whole.at("left_out"), 0);
  EXPECT_EQ(capped.at("left_out").get<std::size_t>() + 2U, whole.at("detections").size());
}

TEST_F(DetectionVerbs, WrongWishesAreRefused) {
  expect_refusal({"predict", "-w", nano(), "--task", "segmentation", picture()}, 1, {"detection"});
  expect_refusal({"predict", "-w", nano(), "--score", "2", picture()}, 2, {"--score"});
  expect_refusal({"predict", "-w", nano(), "--overlap", "4", picture()}, 2, {"--overlap"});
  expect_refusal({"predict", "-w", nano(), "--tile", "64", "--overlap", "64", picture()}, 2, {"tiles"});
  expect_refusal({"predict", "-w", nano(), "--window", "64", picture()}, 2, {"--window", "--tile"});
  expect_refusal({"predict", "-w", nano(), "--size", "64", picture()}, 2, {"--size", "--fit"});
  expect_refusal({"predict", "-w", nano(), "--fit", "native", picture()}, 2,
                 {"--fit", "native", "LONGxSHORT"});
  expect_refusal({"eval", "-w", nano(), "--tta", "-d", path("scenes").string()}, 2, {"--tta"});
  expect_refusal({"eval", "-w", nano(), "-d", path("scenes").string()}, 1, {"categories"});
}

/// Runs of a few iterations.
class DetectionTraining : public Scenes {
 protected:
  Outcome train(const std::string& out, const std::vector<std::string>& more) const {
    std::vector<std::string> keys = {"model.dims=[8,12,16,16]",
                                     "model.depths=[1,1,1,1]",
                                     "detection.channels=8",
                                     "detection.fc_channels=16",
                                     "detection.fit=[64,64]",
                                     "train.iterations=4",
                                     "train.batch=2",
                                     "optimizer.warmup_iterations=2",
                                     "optimizer.milestones=[3]",
                                     "output.evaluate_iterations=2"};
    keys.insert(keys.end(), more.begin(), more.end());
    return run_program(train_words("fashion_scenes_detection.yaml", out, keys));
  }
};

TEST_F(DetectionTraining, LeavesEverythingAndResumesInTheSameBits) {
  const Outcome whole = train("whole", {"--json", "train.accumulation=2"});
  ASSERT_EQ(whole.code, 0) << whole.error;
  for (const char* key : {"box_AP", "box_AP50", "mask_AP", "mask_AP50", "weights", "peak_memory_mib"}) {
    EXPECT_TRUE(whole.json().contains(key)) << key;
  }
  for (const char* file : {"log.csv", "log.jsonl", "curves.png", "recipe.yaml", "summary.json"}) {
    EXPECT_TRUE(fs::exists(path("whole") / file)) << file;
  }
  // Each call makes one update and stops.
  for (int stop = 0; stop < 2; ++stop) {
    const Outcome part = train("parts", {"--resume", "--max-minutes", "0.000001", "train.accumulation=2"});
    ASSERT_EQ(part.code, 0) << part.error;
  }
  const Outcome rest = train("parts", {"--resume", "train.accumulation=2"});
  ASSERT_EQ(rest.code, 0) << rest.error;
  EXPECT_EQ(difference("whole", "parts"), "");
}

TEST_F(DetectionTraining, WhatItLeavesIsEvaluatedAndTrainedOn) {
  ASSERT_EQ(train("run", {"train.ema=false"}).code, 0);
  const std::string weights = (path("run") / "best.safetensors").string();
  const Outcome evaluated = run_program({"eval", "-w", weights, "-d", path("scenes").string(), "--json"});
  ASSERT_EQ(evaluated.code, 0) << evaluated.error;
  EXPECT_EQ(evaluated.json().at("images"), 3);
  const Outcome tuned = train("tuned", {"--finetune", weights, "optimizer.rate=0", "train.iterations=1",
                                        "optimizer.warmup_iterations=0"});
  ASSERT_EQ(tuned.code, 0) << tuned.error;
  const TensorMap before = read_safetensors(weights).tensors;
  const TensorMap after = read_safetensors(path("tuned") / "best.safetensors").tensors;
  const char* name = "roi_head.mask_head.conv_logits.weight";
  EXPECT_EQ(before.at(name).values<float>(), after.at(name).values<float>());
}

TEST_F(DetectionTraining, BrokenPicturesAreLeftOutOrStopTheRun) {
  const fs::path broken = fs::directory_iterator(path("scenes/images/train"))->path();
  image::write_image(broken, image::Image(7, 5, 3));  // of another size than the annotations say
  const Outcome outcome = train("run", {});
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr(broken.filename().string()));
  EXPECT_EQ(train("strict", {"--strict"}).code, 1);
}

TEST_F(DetectionTraining, WhatMeansNothingIsRefused) {
  for (const char* key : {"model.fusion=off", "train.device=cuda", "train.mesa=1", "detection.fit=[1]",
                          "detection.crop=[9,5]", "optimizer.milestones=[5,3]"}) {
    const Outcome outcome = train("run", {key});
    EXPECT_EQ(outcome.code, 2) << key;
    EXPECT_THAT(outcome.error, HasSubstr(std::string(key).substr(0, std::string(key).find('=')))) << key;
  }
}

}  // namespace
}  // namespace spatialmamba::test
