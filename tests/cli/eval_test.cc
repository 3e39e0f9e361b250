// `eval` on a small folder of photographs against counting by hand, and the pictures of `visualize`.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "cli/nano.h"
#include "cli/program.h"
#include "image/codec.h"

namespace spatialmamba::test {
namespace {

using testing::HasSubstr;

/// val/CLASS/PICTURE for every class of the nano network, from the golden photographs in turn.
class EvalTest : public testing::Test {
 protected:
  void SetUp() override {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(golden("classification/data/images"))) {
      if (image::is_image_name(entry.path())) files.push_back(entry.path());
    }
    std::ranges::sort(files);
    classes_ = read_weights(nano_weights()).tensors.at("head.bias").numel();
    for (std::int64_t i = 0; i < classes_; ++i) {
      const std::filesystem::path target = data() / fmt::format("class_{}", static_cast<char>('a' + i));
      std::filesystem::create_directories(target);
      for (std::size_t k = 0; k < 2; ++k) {
        const auto& file = files[(static_cast<std::size_t>(i) + 3 * k) % files.size()];
        std::filesystem::copy(file, target / fmt::format("{}{}", k, file.extension().string()));
      }
    }
  }

  std::filesystem::path data() const { return folder_.path() / "val"; }

  std::vector<std::string> command(const std::vector<std::string>& rest = {}) const {
    std::vector<std::string> words = {
        "eval", "--weights", nano_weights().string(), "--data", data().string(), "--size", "64", "--json"};
    words.insert(words.end(), rest.begin(), rest.end());
    return words;
  }

  TemporaryFolder folder_;
  std::int64_t classes_ = 0;
};

TEST_F(EvalTest, AgreesWithPredictPictureByPicture) {
  const Outcome outcome = run_program(command({"--batch", "3"}));
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  const nlohmann::json result = outcome.json();
  const nlohmann::json answers =
      run_program({"predict", "--weights", nano_weights().string(), "--size", "64", "--json",
                   "--ignore-orientation", "--top", "5", data().string()})
          .json();
  std::int64_t top1 = 0;
  std::int64_t top5 = 0;
  std::vector<std::vector<std::int64_t>> confusion(
      static_cast<std::size_t>(classes_), std::vector<std::int64_t>(static_cast<std::size_t>(classes_)));
  for (const auto& answer : answers.at("images")) {
    const std::string folder =
        std::filesystem::path(answer["file"].get<std::string>()).parent_path().string();
    const std::int64_t label = folder.back() - 'a';
    const auto& guesses = answer.at("predictions");
    top1 += guesses[0]["class"] == label ? 1 : 0;
    top5 += std::ranges::any_of(guesses, [&](const auto& guess) { return guess["class"] == label; }) ? 1 : 0;
    ++confusion[static_cast<std::size_t>(label)][guesses[0]["class"].get<std::size_t>()];
  }
  const auto images = static_cast<double>(answers["images"].size());
  EXPECT_EQ(result.at("images"), answers["images"].size());
  EXPECT_DOUBLE_EQ(result.at("top1").get<double>(), static_cast<double>(top1) / images);
  EXPECT_DOUBLE_EQ(result.at("top5").get<double>(), static_cast<double>(top5) / images);
  EXPECT_EQ(result.at("confusion"), nlohmann::json(confusion));
  EXPECT_EQ(result.at("per_class").size(), static_cast<std::size_t>(classes_));
}

TEST_F(EvalTest, LeavesItsReportInAFolder) {
  const std::filesystem::path out = folder_.path() / "report";
  const Outcome outcome = run_program(command({"--out", out.string()}));
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_EQ(nlohmann::json::parse(read_text(out / "eval.json")), outcome.json());
  EXPECT_GT(image::read_image(out / "confusion.png").width, 300);
  EXPECT_GT(image::read_image(out / "grid.png").width, 300);
  std::istringstream csv(read_text(out / "confusion.csv"));
  std::int64_t lines = 0;
  for (std::string line; std::getline(csv, line); ++lines) {
    EXPECT_EQ(std::ranges::count(line, ','), classes_) << line;
  }
  EXPECT_EQ(lines, classes_ + 1);
}

TEST_F(EvalTest, LeavesBrokenPicturesOutUnlessStrict) {
  const std::filesystem::path first = data() / "class_a";
  const std::filesystem::path picture = std::filesystem::directory_iterator(first)->path();
  write_truncated(picture, first / fmt::format("broken{}", picture.extension().string()));
  const Outcome lenient = run_program(command());
  ASSERT_EQ(lenient.code, 0) << lenient.error;
  EXPECT_EQ(lenient.json().at("skipped"), 1);
  EXPECT_EQ(lenient.json().at("images"), 2 * classes_);
  EXPECT_THAT(lenient.error, HasSubstr("broken"));
  expect_refusal(command({"--strict"}), 1, {"broken"});
}

TEST_F(EvalTest, RefusesDataThatDoNotFit) {
  std::filesystem::remove_all(data() / "class_a");
  expect_refusal(command(), 1, {std::to_string(classes_ - 1) + " classes", std::to_string(classes_)});
  std::filesystem::create_directories(folder_.path() / "empty");
  expect_refusal(
      {"eval", "--weights", nano_weights().string(), "--data", (folder_.path() / "empty").string()}, 1,
      {"empty"});
  expect_refusal({"eval", "--weights", nano_weights().string(), "--data", "/nowhere"}, 1, {"/nowhere"});
  expect_refusal({"eval", "--weights", nano_weights().string()}, 2, {"--data"});
  expect_refusal(command({"--ema"}), 1, {"model_ema"});
}

TEST_F(EvalTest, VisualizeDrawsStatesAndKernels) {
  const std::filesystem::path picture = std::filesystem::directory_iterator(data() / "class_b")->path();
  const std::string out = (folder_.path() / "states.png").string();
  const std::vector<std::string> states = {"visualize", "states", "--weights", nano_weights().string(),
                                           "--size",    "64",     "--image",   picture.string(),
                                           "--out",     out};
  const Outcome outcome = run_program(states);
  ASSERT_EQ(outcome.code, 0) << outcome.error;
  EXPECT_GT(image::read_image(out).height, 300);
  auto unknown = states;
  unknown.insert(unknown.end(), {"--block", "layers.9.blocks.0"});
  expect_refusal(unknown, 2, {"layers.9.blocks.0", "layers.0.blocks.0"});
  expect_refusal({"visualize"}, 2, {"one of states, kernels"});
  expect_refusal({"visualize", "nothing"}, 2, {"one of states, kernels", "'nothing'"});
  expect_refusal({"visualize", "states", "--chanels", "0"}, 2, {"did you mean '--channels'?"});
  auto channel = states;
  channel.insert(channel.end(), {"--channels", "100000"});
  expect_refusal(channel, 2, {"100000"});

  const std::string kernels = (folder_.path() / "kernels.png").string();
  ASSERT_EQ(
      run_program({"visualize", "kernels", "--weights", nano_weights().string(), "--out", kernels}).code, 0);
  EXPECT_GT(image::read_image(kernels).width, 600);
  expect_refusal({"visualize", "kernels", "--weights", nano_weights().string(), "--out", "kernels.gif"}, 2,
                 {"kernels.gif"});
}

}  // namespace
}  // namespace spatialmamba::test
