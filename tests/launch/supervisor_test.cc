// Processes of the shell's in the place of ranks.
#include "launch/supervisor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <pthread.h>

#include <csignal>
#include <thread>

#include "base/file.h"
#include "support/temporary_folder.h"

namespace spatialmamba::launch {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using Clock = std::chrono::steady_clock;

JobResult run(const std::string& script, int processes,
              std::chrono::seconds grace = std::chrono::seconds(10)) {
  return run_job(
      {.command = {"/bin/sh", "-c", script}, .processes = processes, .ranks = processes, .grace = grace});
}

TEST(Supervisor, TellsEachItsPlace) {
  const test::TemporaryFolder folder;
  const std::string script =
      "echo $RANK $WORLD_SIZE $LOCAL_RANK $LOCAL_WORLD_SIZE $MASTER_ADDR $MASTER_PORT > " +
      folder.path().string() + "/$RANK";
  const JobResult result = run_job({.command = {"/bin/sh", "-c", script},
                                    .processes = 2,
                                    .first_rank = 4,
                                    .ranks = 6,
                                    .address = "host",
                                    .port = 77});
  EXPECT_THAT(result.failure, IsEmpty());
  EXPECT_FALSE(result.interrupted);
  EXPECT_EQ(read_text(folder.path() / "4"), "4 6 0 2 host 77\n");
  EXPECT_EQ(read_text(folder.path() / "5"), "5 6 1 2 host 77\n");
}

TEST(Supervisor, BlamesTheOneThatFailedAndStopsTheOthers) {
  const auto begin = Clock::now();
  const auto none = std::chrono::seconds(0);
  EXPECT_THAT(run("[ $RANK = 1 ] && exit 1; exec sleep 100", 3, none).failure,
              HasSubstr("rank 1 failed with exit code 1"));
  EXPECT_THAT(run("[ $RANK = 2 ] && kill -9 $$; exec sleep 100", 3, none).failure,
              HasSubstr("rank 2 was killed by signal 9"));
  EXPECT_LT(Clock::now() - begin, std::chrono::seconds(20));
}

TEST(Supervisor, ThoseLeftBehindAreNotToBlame) {
  // 3 is what a process ends with that has lost another one.
  EXPECT_THAT(run("[ $RANK = 1 ] && sleep 0.3 && kill -9 $$; exit 3", 3).failure,
              HasSubstr("rank 1 was killed"));
  EXPECT_THAT(run("[ $RANK = 1 ] && exec sleep 100; exit 3", 3, std::chrono::seconds(1)).failure,
              HasSubstr("rank 1 did not end by itself"));
}

TEST(Supervisor, HandsSignalsOn) {
  const test::TemporaryFolder folder;
  const std::string ready = folder.path().string() + "/ready";
  std::thread user([&, supervisor = ::pthread_self()] {
    while (!std::filesystem::exists(ready + "0") || !std::filesystem::exists(ready + "1")) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    ::pthread_kill(supervisor, SIGINT);
  });
  const JobResult result =
      run("trap 'exit 130' INT; touch " + ready + "$RANK; while :; do sleep 0.05; done", 2);
  user.join();
  EXPECT_TRUE(result.interrupted);
  EXPECT_THAT(result.failure, IsEmpty());
}

TEST(Supervisor, FreePortsAreFree) {
  EXPECT_GT(free_port(), 1023);
}

}  // namespace
}  // namespace spatialmamba::launch
