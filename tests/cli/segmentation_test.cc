// The verbs on a segmentor: the official checkpoint as it is, figures and label maps of the reference, a run
// that is stopped and resumed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "base/file.h"
#include "cli/program.h"
#include "image/codec.h"
#include "spatialmamba/segmentor.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::test {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string nano() {
  return golden("segmentation/nano/checkpoint.pth").string();
}

json read_json(const std::string& relative) {
  return json::parse(read_text(golden(relative)));
}

/// --fit for the size that the golden's test pipeline fits pictures into.
std::string nano_fit() {
  const json config = read_json("segmentation/nano/config.json");
  for (const json& step : config.at("test_pipeline")) {
    if (step.at("type") == "Resize") {
      return std::to_string(step.at("scale").at(0).get<int>()) + "x" +
             std::to_string(step.at("scale").at(1).get<int>());
    }
  }
  return {};
}

/// The golden toy data with names for as many classes as the nano network has.
void copy_toy(const fs::path& folder) {
  fs::copy(golden("segmentation/toy"), folder, fs::copy_options::recursive);
  std::string names;
  const auto classes = infer_segmentor(read_weights(nano()).tensors).num_classes;
  for (std::int64_t i = 0; i < classes; ++i) names += "thing " + std::to_string(i) + "\n";
  write_text(folder / "classes.txt", names);
}

TEST(SegmentationVerbs, InfoCountsAsThePaperDoes) {
  const json expected = read_json("segmentation/flops/seg_tiny.json");
  const json info =
      run_program({"info", "--variant", "tiny", "--task", "segmentation", "--size", "2048x512", "--json"})
          .json();
  EXPECT_EQ(info.at("task"), "segmentation");
  EXPECT_EQ(info.at("parameters"), expected.at("params_with_auxiliary_head"));
  EXPECT_EQ(info.at("flops"), expected.at("raw_plus_scan_plus_three_dilated"));
  EXPECT_EQ(run_program({"info", nano(), "--json"}).json().at("task"), "segmentation");
}

TEST(SegmentationVerbs, ForwardWritesTheGoldensMaps) {
  const TemporaryFolder folder;
  const Weights file = read_safetensors(golden("segmentation/nano/logits.safetensors"));
  for (const auto& [name, tensor] : file.tensors) {
    if (!name.ends_with(".input")) continue;
    SCOPED_TRACE(name);
    const std::string prefix = name.substr(0, name.size() - 5);
    Weights input;
    input.tensors.add("input", tensor);
    const std::string in = (folder.path() / "in.safetensors").string();
    const std::string out = (folder.path() / "out.safetensors").string();
    write_safetensors(in, input);
    ASSERT_EQ(run_program({"forward", "-w", nano(), "-i", in, "-o", out, "--json"}).code, 0);
    const Weights maps = read_safetensors(out);
    std::size_t compared = 0;
    for (const auto& [map, actual] : maps.tensors) {
      EXPECT_LE(relative_deviation(as_double(actual), as_double(file.tensors.at(prefix + map))), 1e-5) << map;
      ++compared;
    }
    EXPECT_GE(compared, 8U);
  }
}

TEST(SegmentationVerbs, EvalPrintsTheReferencesFigures) {
  const TemporaryFolder folder;
  copy_toy(folder.path() / "toy");
  const json expected = read_json("segmentation/nano/test_pipeline.json").at("metrics");
  const json result = run_program({"eval", "-w", nano(), "-d", (folder.path() / "toy").string(), "--fit",
                                   nano_fit(), "--classes", (folder.path() / "toy/classes.txt").string(),
                                   "--out", (folder.path() / "report").string(), "--json"})
                          .json();
  for (const char* figure : {"mIoU", "mAcc", "aAcc"}) {
    EXPECT_NEAR(result.at(figure).get<double>(), expected.at(figure).get<double>(), 0.01) << figure;
  }
  EXPECT_EQ(result.at("skipped"), 0);
  EXPECT_EQ(json::parse(read_text(folder.path() / "report/eval.json")), result);
}

TEST(SegmentationVerbs, EvalCountsWhatItLeavesOut) {
  const TemporaryFolder folder;
  const fs::path toy = folder.path() / "toy";
  copy_toy(toy);
  std::vector<fs::path> masks;
  for (const auto& entry : fs::directory_iterator(toy / "annotations/validation"))
    masks.push_back(entry.path());
  std::sort(masks.begin(), masks.end());
  ASSERT_GE(masks.size(), 4U);
  fs::remove(masks[0]);
  image::write_image(masks[1], image::Image(3, 3, 1));
  const Outcome outcome = run_program({"eval", "-w", nano(), "-d", toy.string(), "--fit", nano_fit(),
                                       "--classes", (toy / "classes.txt").string(), "--json"});
  EXPECT_EQ(outcome.json().at("skipped"), 2);
  EXPECT_THAT(outcome.error, testing::HasSubstr(masks[0].stem().string()));
  EXPECT_THAT(outcome.error, testing::HasSubstr("3 x 3"));
  EXPECT_EQ(run_program({"eval", "-w", nano(), "-d", toy.string(), "--strict", "--classes",
                         (toy / "classes.txt").string()})
                .code,
            1);
}

TEST(SegmentationVerbs, PredictWritesMapsColoursAndAreas) {
  const TemporaryFolder folder;
  const std::vector<fs::path> pictures = golden_files("segmentation/toy/images/validation", ".png");
  const json result = run_program({"predict", "-w", nano(), "--fit", nano_fit(), "--out",
                                   folder.path().string(), "--json", pictures[0].string()})
                          .json();
  const json& answer = result.at("images").at(0);
  const image::Image labels = image::read_label_map(answer.at("labels").get<std::string>());
  EXPECT_EQ(labels.width, answer.at("width"));
  std::int64_t pixels = 0;
  for (const json& entry : answer.at("classes")) {
    const auto count = std::count(labels.pixels.begin(), labels.pixels.end(), entry.at("class").get<int>());
    EXPECT_EQ(entry.at("pixels"), count);
    pixels += count;
  }
  EXPECT_EQ(pixels, static_cast<std::int64_t>(labels.pixels.size()));
  EXPECT_EQ(image::read_image(answer.at("colors").get<std::string>()).width, labels.width);
  EXPECT_GE(image::read_image(answer.at("overlay").get<std::string>()).width, labels.width);
}

TEST(SegmentationVerbs, AWindowShowsTheWholePicture) {
  const TemporaryFolder folder;
  image::Image large(300, 500, 3);
  for (std::size_t i = 0; i < large.pixels.size(); ++i)
    large.pixels[i] = static_cast<std::uint8_t>(i * 7 % 251);
  const std::string picture = (folder.path() / "large.png").string();
  image::write_image(picture, large);
  const json result = run_program({"predict", "-w", nano(), "--fit", "native", "--window", "128", "--stride",
                                   "96", "--json", picture})
                          .json();
  std::int64_t pixels = 0;
  for (const json& entry : result.at("images").at(0).at("classes"))
    pixels += entry.at("pixels").get<std::int64_t>();
  EXPECT_EQ(pixels, 300 * 500);
}

TEST(SegmentationVerbs, ConvertKeepsEveryTensorAndWritesWhereOpenMMLabReads) {
  const TemporaryFolder folder;
  const std::string plain = (folder.path() / "nano.safetensors").string();
  const std::string back = (folder.path() / "nano.pth").string();
  ASSERT_EQ(run_program({"convert", nano(), plain}).code, 0);
  ASSERT_EQ(run_program({"convert", plain, back}).code, 0);
  const TensorMap original = read_weights(nano()).tensors;
  for (const TensorMap& copy : {read_weights(plain).tensors, read_pth(back, "state_dict").tensors}) {
    ASSERT_EQ(copy.size(), original.size());
    for (const auto& [name, tensor] : original) {
      const Tensor& other = copy.at(name);
      ASSERT_EQ(other.shape(), tensor.shape()) << name;
      EXPECT_TRUE(std::equal(tensor.raw(), tensor.raw() + tensor.bytes(), other.raw())) << name;
    }
  }
}

TEST(SegmentationVerbs, WrongWishesAreRefused) {
  expect_refusal({"predict", "-w", nano(), "--task", "classification", "x.png"}, 1, {"segmentation"});
  expect_refusal({"predict", "-w", nano(), "--stride", "4", "x.png"}, 2, {"--stride"});
  const std::string picture = golden_files("segmentation/toy/images/validation", ".png")[0].string();
  expect_refusal({"predict", "-w", nano(), "--window", "8", "--stride", "9", picture}, 2, {"window"});
  expect_refusal({"predict", "-w", nano(), "--tile", "64", picture}, 2, {"--tile", "--window"});
  expect_refusal({"predict", "-w", nano(), "--fit", "large", picture}, 2, {"--fit", "large", "LONGxSHORT"});
}

}  // namespace
}  // namespace spatialmamba::test
