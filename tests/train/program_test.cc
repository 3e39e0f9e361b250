// The program itself: killed and interrupted runs that are resumed, and what it says to mistakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include "train/programs.h"

namespace spatialmamba::train {
namespace {

using test::difference;
using testing::HasSubstr;

TEST_F(Programs, KilledAndInterruptedRunsResumeBitForBit) {
  ASSERT_EQ(run(arguments("whole")), 0) << output();
  const RunFolder out(path("killed"));
  std::int64_t updates = 0;
  for (int kills = 0; kills < 3; ++kills) {
    Program program(arguments("killed", {"--resume"}), path("output.txt"));
    ASSERT_TRUE(wait_for_checkpoint(out, updates)) << output();
    program.send(SIGKILL);
    EXPECT_EQ(program.wait(), 128 + SIGKILL);
    updates = read_saved_run(out.checkpoint()).progress.updates;
  }
  {
    Program program(arguments("killed", {"--resume"}), path("output.txt"));
    ASSERT_TRUE(wait_for_checkpoint(out, updates)) << output();
    program.send(SIGINT);
    EXPECT_EQ(program.wait(), 128 + SIGINT) << output();
    EXPECT_THAT(output(), HasSubstr("--resume continues"));
  }
  ASSERT_EQ(run(arguments("killed", {"--resume"})), 0) << output();
  EXPECT_EQ(difference(RunFolder(path("whole")).checkpoint(), out.checkpoint()), "");
  EXPECT_EQ(read_file(RunFolder(path("whole")).best()), read_file(out.best()));
}

TEST_F(Programs, MistakesAreUsageErrors) {
  EXPECT_EQ(run(arguments("out", {"train.epoch=2"})), 2);
  EXPECT_THAT(output(), HasSubstr("did you mean train.epochs?"));
  EXPECT_EQ(run({"train", "--data", path("data"), "--out", path("out")}), 2);
  EXPECT_THAT(output(), HasSubstr("--config"));
  EXPECT_EQ(run({"train", "--config", path("none.yaml"), "--data", path("data"), "--out", path("out")}), 1);
  EXPECT_THAT(output(), HasSubstr("none.yaml"));
  EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(Programs, WithoutAGpuOneSentenceSaysSo) {
  if (torch::cuda::is_available()) GTEST_SKIP() << "there is one";
  EXPECT_EQ(run(arguments("gpu", {"train.device=cuda"})), 1);
  EXPECT_THAT(output(), HasSubstr("device cuda: "));
  EXPECT_FALSE(RunFolder(path("gpu")).holds_run());
  EXPECT_EQ(run(arguments("gpu", {"train.device=tpu"})), 2);
}

TEST_F(Programs, WeightsSayInWhichOrderTheirStatesAreScanned) {
  ASSERT_EQ(run(arguments("snake", {"model.scan=snake", "train.epochs=2"})), 0) << output();
  const std::string weights = RunFolder(path("snake")).best();
  const std::vector<std::string> eval = {"eval", "--weights", weights, "--data", path("data")};
  EXPECT_EQ(run(eval), 0) << output();
  std::vector<std::string> with_engine = eval;
  with_engine.insert(with_engine.end(), {"--backend", "engine"});
  EXPECT_EQ(run(with_engine), 1);
  EXPECT_THAT(output(), HasSubstr("'snake'"));
  EXPECT_EQ(run(arguments("tuned", {"--finetune", weights})), 2);
  EXPECT_THAT(output(), HasSubstr("model.scan is 'row'"));
  EXPECT_EQ(run(arguments("tuned", {"--finetune", weights, "model.scan=snake", "train.epochs=2"})), 0)
      << output();
}

TEST_F(Programs, OneCommandFinetunesOnAFolder) {
  ASSERT_EQ(run(arguments("base", {"train.epochs=2"})), 0) << output();
  const auto finetune = [&](const std::string& data, const std::vector<std::string>& more) {
    std::vector<std::string> words = {"train",       "--finetune", RunFolder(path("base")).best(),
                                      "--data",      path(data),   "--out",
                                      path("tuned"), "--threads",  "1"};
    words.insert(words.end(), more.begin(), more.end());
    return run(words);
  };
  // Class folders that are not divided into parts.
  ASSERT_EQ(
      finetune("data/train", {"train.epochs=2", "optimizer.warmup_epochs=0", "train.class_weights=balanced"}),
      0)
      << output();
  EXPECT_THAT(output(),
              testing::AllOf(HasSubstr("put aside"), HasSubstr("train.batch="), HasSubstr("top-1")));
  const std::string page = read_text(path("tuned/report.html"));
  for (const char* part :
       {"top-1", "curves.png", "confusion.png", "most often taken for", "files could not be read"}) {
    EXPECT_THAT(page, HasSubstr(part));
  }
  EXPECT_TRUE(std::filesystem::exists(path("tuned/confusion.png")));
  EXPECT_THAT(read_text(RunFolder(path("tuned")).recipe()), HasSubstr("class_weights: balanced"));

  EXPECT_EQ(finetune("data/train", {"--force", "train.class_weights=[1, 2]"}), 2);
  EXPECT_THAT(output(),
              HasSubstr("train.class_weights has 2 values, expected one for each of the 3 classes"));
}

TEST_F(Programs, ShowConfigPrintsAReadableRecipe) {
  EXPECT_EQ(run({"train", "--config", path("recipe.yaml"), "--show-config", "train.epochs=3"}), 0);
  const Recipe recipe = parse_recipe(output(), "output");
  EXPECT_EQ(recipe.train.epochs, 3);
  EXPECT_EQ(recipe.model.variant, "custom");
}

}  // namespace
}  // namespace spatialmamba::train
