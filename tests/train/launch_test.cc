// `spatialmamba launch`: processes that are killed, hang or stop, and runs that go on afterwards.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "base/random.h"
#include "train/programs.h"

namespace spatialmamba::train {
namespace {

using test::difference;
using testing::HasSubstr;

/// What the help page states: the grace of the others, and the seconds in which they find out who is lost.
constexpr auto kInTime = std::chrono::seconds(20);

class Launches : public Programs {
 protected:
  std::vector<std::string> launch(const std::string& out, const std::vector<std::string>& of_launch = {},
                                  const std::vector<std::string>& of_train = {}) const {
    std::vector<std::string> words = {"launch", "-n", "2"};
    words.insert(words.end(), of_launch.begin(), of_launch.end());
    const std::vector<std::string> command = arguments(out, of_train);
    words.insert(words.end(), command.begin(), command.end());
    return words;
  }

  /// The process of a rank: the launcher starts them in order.
  static pid_t process_of(const Program& launcher, int rank) {
    std::ifstream children(fmt::format("/proc/{0}/task/{0}/children", launcher.process()));
    pid_t child = 0;
    for (int i = 0; i <= rank; ++i) children >> child;
    return children ? child : 0;
  }

  std::int64_t updates(const std::string& out) const {
    return read_saved_run(RunFolder(path(out)).checkpoint()).progress.updates;
  }
};

TEST_F(Launches, KilledRanksAreNamedAndTheRunResumesBitForBit) {
  ASSERT_EQ(run(launch("whole")), 0) << output();
  EXPECT_TRUE(std::filesystem::exists(RunFolder(path("whole")).rank_log(1)));
  const RunFolder out(path("killed"));
  Random random(5);
  std::int64_t saved = 0;
  for (int kills = 0; kills < 2; ++kills) {
    Program launcher(launch("killed", {}, {"--resume"}), path("output.txt"));
    ASSERT_TRUE(wait_for_checkpoint(out, saved + random.below(4))) << output();
    const int rank = kills;
    ASSERT_EQ(::kill(process_of(launcher, rank), SIGKILL), 0);
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(launcher.wait(), 1) << output();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, kInTime);
    EXPECT_THAT(output(), HasSubstr(fmt::format("rank {} was killed by signal 9", rank)));
    saved = updates("killed");
  }
  ASSERT_EQ(run(launch("killed", {}, {"--resume"})), 0) << output();
  EXPECT_EQ(difference(RunFolder(path("whole")).checkpoint(), out.checkpoint()), "");
  EXPECT_EQ(read_file(RunFolder(path("whole")).best()), read_file(out.best()));
}

TEST_F(Launches, RestartByThemselves) {
  Program launcher(launch("restarted", {"--max-restarts", "1"}, {"--force", "train.epochs=8"}),
                   path("output.txt"));
  ASSERT_TRUE(wait_for_checkpoint(RunFolder(path("restarted")), 3)) << output();
  ASSERT_EQ(::kill(process_of(launcher, 1), SIGKILL), 0);
  EXPECT_EQ(launcher.wait(), 0) << output();
  EXPECT_THAT(output(), HasSubstr("restart 1 of 1"));
  ASSERT_EQ(run(launch("whole", {}, {"train.epochs=8"})), 0) << output();
  EXPECT_EQ(difference(RunFolder(path("whole")).checkpoint(), RunFolder(path("restarted")).checkpoint()), "");
}

/// A restart does not continue the run that a refused one was to replace.
TEST_F(Launches, RestartsStillReplaceARunThatIsThere) {
  ASSERT_EQ(run(launch("old", {}, {"train.epochs=2"})), 0) << output();
  const auto before = read_file(RunFolder(path("old")).checkpoint());
  const std::vector<std::string> unfit = {"--force", "--finetune", path("recipe.yaml"), "train.epochs=2"};
  EXPECT_EQ(run(launch("old", {"--max-restarts", "1", "--grace", "2"}, unfit)), 1);
  EXPECT_THAT(output(), HasSubstr("restart 1 of 1"));
  EXPECT_EQ(read_file(RunFolder(path("old")).checkpoint()), before);
}

TEST_F(Launches, RanksThatHangAreNamed) {
  Program launcher(launch("hung", {"--grace", "4"}, {"--timeout", "2"}), path("output.txt"));
  ASSERT_TRUE(wait_for_checkpoint(RunFolder(path("hung")), 1)) << output();
  ASSERT_EQ(::kill(process_of(launcher, 1), SIGSTOP), 0);
  EXPECT_EQ(launcher.wait(), 1);
  EXPECT_THAT(output(), HasSubstr("rank 1 is gone or hangs"));
  EXPECT_THAT(output(), HasSubstr("rank 1 did not end by itself"));
}

TEST_F(Launches, CtrlCStopsAllAfterTheSameUpdate) {
  {
    Program launcher(launch("stopped"), path("output.txt"));
    ASSERT_TRUE(wait_for_checkpoint(RunFolder(path("stopped")), 2)) << output();
    launcher.send(SIGINT);
    EXPECT_EQ(launcher.wait(), 128 + SIGINT) << output();
  }
  ASSERT_EQ(run(launch("stopped", {}, {"--resume"})), 0) << output();
  ASSERT_EQ(run(launch("whole")), 0) << output();
  EXPECT_EQ(difference(RunFolder(path("whole")).checkpoint(), RunFolder(path("stopped")).checkpoint()), "");
}

TEST_F(Launches, MistakesAreUsageErrors) {
  EXPECT_EQ(run({"launch", "train"}), 2);
  EXPECT_EQ(run({"launch", "-n", "2"}), 2);
  EXPECT_THAT(output(), HasSubstr("expected `train`"));
  EXPECT_EQ(run({"launch", "-n", "2", "eval"}), 2);
  EXPECT_EQ(run({"launch", "-n", "2", "--machines", "2", "train"}), 2);
  EXPECT_THAT(output(), HasSubstr("--port"));
  ASSERT_EQ(run(launch("bad", {"--grace", "5"}, {"train.epoch=3"})), 1);
  EXPECT_THAT(output(), HasSubstr("did you mean train.epochs?"));
}

}  // namespace
}  // namespace spatialmamba::train
