// `predict` on the golden photographs: every kind of file, every way to name them.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "cli/nano.h"
#include "cli/program.h"
#include "image/codec.h"
#include "image/exif.h"

namespace spatialmamba::test {
namespace {

using testing::HasSubstr;

std::vector<std::filesystem::path> photographs() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(golden("classification/data/images"))) {
    if (image::is_image_name(entry.path())) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  return files;
}

/// predict with the nano weights on small inputs.
std::vector<std::string> command(const std::vector<std::string>& rest) {
  std::vector<std::string> words = {"predict", "--weights", nano_weights().string(),
                                    "--size",  "64",        "--json"};
  words.insert(words.end(), rest.begin(), rest.end());
  return words;
}

nlohmann::json predict(const std::vector<std::string>& rest) {
  const Outcome outcome = run_program(command(rest));
  EXPECT_EQ(outcome.code, 0) << outcome.error;
  return outcome.json();
}

void expect_valid(const nlohmann::json& answer) {
  double previous = 1.0;
  double sum = 0.0;
  for (const auto& guess : answer.at("predictions")) {
    const auto share = guess.at("probability").get<double>();
    EXPECT_LE(share, previous);
    previous = share;
    sum += share;
    EXPECT_FALSE(guess.at("name").get<std::string>().empty());
  }
  EXPECT_GT(sum, 0.0);
  EXPECT_LE(sum, 1.0 + 1e-9);
}

TEST(Predict, ReadsEveryPhotographOfAFolder) {
  const std::vector<std::filesystem::path> files = photographs();
  const nlohmann::json result = predict({golden("classification/data/images").string(), "--top", "3"});
  ASSERT_EQ(result.at("images").size(), files.size());
  for (std::size_t i = 0; i < files.size(); ++i) {
    EXPECT_EQ(result["images"][i]["file"], files[i].string());
    EXPECT_EQ(result["images"][i]["predictions"].size(), 3U);
    expect_valid(result["images"][i]);
  }
}

TEST(Predict, HonoursTheOrientationUnlessToldOtherwise) {
  const std::string folder = golden("classification/data/images").string();
  const nlohmann::json upright = predict({folder});
  const nlohmann::json stored = predict({folder, "--ignore-orientation"});
  int turned = 0;
  for (std::size_t i = 0; i < upright["images"].size(); ++i) {
    const nlohmann::json& a = upright["images"][i];
    const nlohmann::json& b = stored["images"][i];
    const int orientation = image::exif_orientation(read_file(a["file"].get<std::string>()));
    if (orientation == 1) {
      EXPECT_EQ(a, b);
    } else {
      EXPECT_NE(a["predictions"], b["predictions"]) << a["file"];
      ++turned;
    }
    if (orientation >= 5) {
      EXPECT_EQ(a["width"], b["height"]);
      EXPECT_EQ(a["height"], b["width"]);
    }
  }
  EXPECT_GE(turned, 1) << "no photograph has an orientation";
}

TEST(Predict, StandardInputAndPatternsGiveTheSameAnswers) {
  const std::vector<std::filesystem::path> files = photographs();
  const nlohmann::json named = predict({files.front().string()});
  const Outcome piped = run_program(command({"-"}), files.front());
  ASSERT_EQ(piped.code, 0) << piped.error;
  EXPECT_EQ(piped.json()["images"][0]["predictions"], named["images"][0]["predictions"]);

  const std::string extension = files.front().extension().string();
  const auto count =
      std::ranges::count(files, files.front().extension(), [](const auto& p) { return p.extension(); });
  const nlohmann::json matched =
      predict({(files.front().parent_path() / fmt::format("*{}", extension)).string()});
  EXPECT_EQ(std::ssize(matched["images"]), count);
}

TEST(Predict, DrawsAnnotatedPictures) {
  const TemporaryFolder folder;
  const std::string photograph = photographs().front().string();
  if (!kWithTraining) {
    expect_refusal(command({photograph, "--out", folder.path().string()}), 2, {"OpenCV"});
    return;
  }
  const nlohmann::json result = predict({photograph, photograph, "--out", folder.path().string()});
  ASSERT_EQ(result["images"].size(), 2U);
  EXPECT_NE(result["images"][0]["annotated"], result["images"][1]["annotated"]);
  for (const auto& answer : result["images"]) {
    EXPECT_GT(image::read_image(answer["annotated"].get<std::string>()).width, 300);
  }
  const std::string single = (folder.path() / "deep" / "one.jpg").string();
  predict({photograph, "--out", single});
  EXPECT_GT(image::read_image(single).width, 300);
}

TEST(Predict, TakesClassNamesFromAFileOrTheWeights) {
  const TemporaryFolder folder;
  const auto classes = read_weights(nano_weights()).tensors.at("head.bias").numel();
  std::string lines;
  nlohmann::json list;
  for (std::int64_t i = 0; i < classes; ++i) {
    lines += "thing " + std::to_string(i) + "\n";
    list.push_back("stored " + std::to_string(i));
  }
  const std::string names = (folder.path() / "names.txt").string();
  write_text(names, lines);
  const std::string photograph = photographs().front().string();
  EXPECT_THAT(predict({photograph, "--classes", names}).dump(), HasSubstr("thing "));
  write_text(names, lines + "one too many\n");
  expect_refusal(command({photograph, "--classes", names}), 1,
                 {"names.txt", std::to_string(classes + 1), std::to_string(classes)});

  Weights weights = read_weights(nano_weights());
  weights.metadata["classes"] = list.dump();
  const std::string named = (folder.path() / "named.safetensors").string();
  write_safetensors(named, weights);
  const auto with = [&](const std::string& file) {
    return std::vector<std::string>{"predict", "--weights", file, "--size", "64", "--json", photograph};
  };
  EXPECT_THAT(run_program(with(named)).json().dump(), HasSubstr("stored "));
  weights.metadata["classes"] = "[\"only one\"]";
  write_safetensors(named, weights);
  expect_refusal(with(named), 1, {"named.safetensors", "1 class"});
  weights.metadata["classes"] = "not json";
  write_safetensors(named, weights);
  expect_refusal(with(named), 1, {"named.safetensors", "'classes'"});
}

TEST(Predict, AnswersForGoodPicturesAmongBrokenOnes) {
  const TemporaryFolder folder;
  const std::filesystem::path photograph = photographs().front();
  std::filesystem::copy(photograph, folder.path() / fmt::format("good{}", photograph.extension().string()));
  write_truncated(photograph, folder.path() / fmt::format("half{}", photograph.extension().string()));
  const Outcome outcome = run_program(command({folder.path().string()}));
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.error, HasSubstr("1 of 2 pictures"));
  const nlohmann::json result = outcome.json();
  expect_valid(result["images"][0]);
  EXPECT_THAT(result["images"][1]["error"].get<std::string>(), HasSubstr("half"));
}

TEST(Predict, RefusesWhatIsNotThere) {
  const TemporaryFolder folder;
  const std::vector<std::string> words = {"predict", "--weights", nano_weights().string()};
  const auto with = [&](std::vector<std::string> rest) {
    rest.insert(rest.begin(), words.begin(), words.end());
    return rest;
  };
  expect_refusal(with({}), 2, {"PICTURE"});
  expect_refusal(with({"none.jpg"}), 1, {"none.jpg"});
  expect_refusal(with({"nothing-*.jpg"}), 1, {"nothing-*.jpg"});
  expect_refusal(with({folder.path().string()}), 1, {folder.path().string(), "no picture"});
  expect_refusal(with({"-"}), 1, {"standard input"});
  expect_refusal(with({"-", "-"}), 2, {"standard input"});
  const std::string photograph = photographs().front().string();
  expect_refusal(with({photograph, photograph, "--out", "one.png"}), 2, {"one.png"});
  if (!kWithTraining) return;  // nothing is drawn
  write_text(folder.path() / "file", "a file is no folder");
  expect_refusal(with({photograph, "--size", "64", "--out", (folder.path() / "file" / "x.png").string()}), 1,
                 {(folder.path() / "file").string()});
}

TEST(Predict, RunsTheFullSizeNetworkUntrainedAndSaysSo) {
  const Outcome outcome =
      run_program({"predict", "--variant", "tiny", "--untrained", "--json", photographs().front().string()});
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_THAT(outcome.error, HasSubstr("untrained"));
  const nlohmann::json result = outcome.json();
  EXPECT_EQ(result.at("untrained"), true);
  EXPECT_EQ(result.at("variant"), "tiny");
  expect_valid(result["images"][0]);
}

}  // namespace
}  // namespace spatialmamba::test
