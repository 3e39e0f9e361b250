// The program itself: killed and interrupted runs that are resumed, and what it says to mistakes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

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

TEST_F(Programs, ShowConfigPrintsAReadableRecipe) {
  EXPECT_EQ(run({"train", "--config", path("recipe.yaml"), "--show-config", "train.epochs=3"}), 0);
  const Recipe recipe = parse_recipe(output(), "output");
  EXPECT_EQ(recipe.train.epochs, 3);
  EXPECT_EQ(recipe.model.variant, "custom");
}

}  // namespace
}  // namespace spatialmamba::train
