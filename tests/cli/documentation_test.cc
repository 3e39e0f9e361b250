// The JSON that docs/cli.md shows has the keys and types of what the program prints.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "cli/nano.h"
#include "cli/program.h"
#include "image/codec.h"

namespace spatialmamba::test {
namespace {

/// The block of JSON that follows the line "<!-- json: NAME -->".
nlohmann::json documented(const std::string& name) {
  const std::string text = read_text(SPATIALMAMBA_CLI_PAGE);
  const std::string mark = "<!-- json: " + name + " -->\n```json\n";
  const std::size_t start = text.find(mark);
  EXPECT_NE(start, std::string::npos) << name << " is not documented";
  if (start == std::string::npos) return {};
  const std::size_t body = start + mark.size();
  return nlohmann::json::parse(text.substr(body, text.find("```", body) - body));
}

std::string kind(const nlohmann::json& value) {
  return value.is_number() ? "number" : value.type_name();
}

/// Equal keys and kinds; of a list the first elements speak for all.
void expect_same_form(const nlohmann::json& shown, const nlohmann::json& printed, const std::string& where) {
  if (shown.is_null() || printed.is_null()) return;
  ASSERT_EQ(kind(shown), kind(printed)) << where;
  if (shown.is_array() && !shown.empty() && !printed.empty()) {
    expect_same_form(shown[0], printed[0], where + "[0]");
  } else if (shown.is_object()) {
    for (const auto& [key, value] : shown.items()) {
      ASSERT_TRUE(printed.contains(key)) << where << '.' << key << " is documented but not printed";
      expect_same_form(value, printed[key], where + '.' + key);
    }
    for (const auto& [key, value] : printed.items()) {
      EXPECT_TRUE(shown.contains(key)) << where << '.' << key << " is printed but not documented";
    }
  }
}

void check(const std::string& name, const std::vector<std::string>& command) {
  const Outcome outcome = run_program(command);
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  expect_same_form(documented(name), outcome.json(), name);
}

std::string photograph() {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(golden("classification/data/images"))) {
    if (image::is_image_name(entry.path())) files.push_back(entry.path().string());
  }
  return *std::ranges::min_element(files);
}

TEST(Documentation, ShowsTheJsonOfDoctor) {
  check("doctor", {"doctor", "--json"});
}

TEST(Documentation, ShowsTheJsonOfInfo) {
  check("info", {"info", "--variant", "tiny", "--size", "224", "--layers", "--json"});
}

TEST(Documentation, ShowsTheJsonOfBench) {
  check("bench", {"bench", "--weights", nano_weights().string(), "--shape", "1x3x32x32", "--seconds", "0",
                  "--runs", "1", "--threads", "1", "--layers", "--json"});
}

TEST(Documentation, ShowsTheJsonOfTrainingsBench) {
  check("bench-train", {"bench", "--train", "--variant", "micro", "--shape", "2x3x32x32", "--seconds", "0",
                        "--runs", "1", "--threads", "1", "--json"});
}

TEST(Documentation, ShowsTheJsonOfPredict) {
  const TemporaryFolder folder;
  check("predict", {"predict", "--weights", nano_weights().string(), "--size", "64", "--json", "--out",
                    folder.path().string(), photograph()});
}

TEST(Documentation, ShowsTheJsonOfEval) {
  const TemporaryFolder folder;
  const auto classes = read_weights(nano_weights()).tensors.at("head.bias").numel();
  for (std::int64_t i = 0; i < classes; ++i) {
    const std::filesystem::path target = folder.path() / ("class_" + std::to_string(i));
    std::filesystem::create_directories(target);
    std::filesystem::copy(photograph(), target);
  }
  check("eval", {"eval", "--weights", nano_weights().string(), "--size", "64", "--json", "--data",
                 folder.path().string()});
}

TEST(Documentation, ShowsTheJsonOfSegmentation) {
  const TemporaryFolder folder;
  const std::string weights = golden("segmentation/nano/checkpoint.pth").string();
  const auto pictures = golden_files("segmentation/toy/images/validation", ".png");
  check("predict-segmentation", {"predict", "--weights", weights, "--fit", "64x64", "--json", "--out",
                                 folder.path().string(), pictures.front().string()});
  const std::filesystem::path toy = folder.path() / "toy";
  std::filesystem::copy(golden("segmentation/toy"), toy, std::filesystem::copy_options::recursive);
  std::string names;
  const auto classes = read_weights(weights).tensors.at("decode_head.conv_seg.bias").numel();
  for (std::int64_t i = 0; i < classes; ++i) names += std::to_string(i) + "\n";
  write_text(toy / "classes.txt", names);
  check("eval-segmentation", {"eval", "--weights", weights, "--fit", "64x64", "--classes",
                              (toy / "classes.txt").string(), "--json", "--data", toy.string()});
}

TEST(Documentation, ShowsTheJsonOfDetection) {
  const TemporaryFolder folder;
  const std::string weights = golden("detection/nano/weights.safetensors").string();
  check("predict-detection", {"predict", "--weights", weights, "--fit", "96x64", "--score", "0", "--json",
                              "--out", (folder.path() / "found").string(), photograph()});
  const std::filesystem::path picture = photograph();
  std::filesystem::copy(picture, folder.path());
  const image::Image pixels = image::read_image(picture);
  nlohmann::json coco{{"images",
                       {{{"id", 1},
                         {"file_name", picture.filename().string()},
                         {"width", pixels.width},
                         {"height", pixels.height}}}},
                      {"annotations", nlohmann::json::array()}};
  const auto outputs = read_weights(weights).tensors.at("roi_head.mask_head.conv_logits.bias").numel();
  for (std::int64_t id = 1; id <= outputs; ++id) {
    coco["categories"].push_back({{"id", id}, {"name", std::to_string(id)}});
  }
  const std::string annotations = (folder.path() / "coco.json").string();
  write_text(annotations, coco.dump());
  check("eval-detection", {"eval", "--weights", weights, "--fit", "96x64", "--json", "--data", annotations});
}

TEST(Documentation, ShowsTheJsonOfForward) {
  const TemporaryFolder folder;
  Weights file;
  file.tensors.add("input", Tensor(DType::f32, {1, 3, 32, 32}));
  const std::string input = (folder.path() / "in.safetensors").string();
  write_safetensors(input, file);
  check("forward", {"forward", "--weights", nano_weights().string(), "--input", input, "--output",
                    (folder.path() / "out.safetensors").string(), "--json"});
}

}  // namespace
}  // namespace spatialmamba::test
