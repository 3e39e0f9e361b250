// The program itself: killed and interrupted runs that are resumed, and what it says to mistakes.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "base/error.h"
#include "base/file.h"
#include "image/codec.h"
#include "support/temporary_folder.h"
#include "train/run_folder.h"
#include "train/small_run.h"

namespace spatialmamba::train {
namespace {

using test::difference;
using testing::HasSubstr;

constexpr auto kPatience = std::chrono::seconds(120);

/// A running `spatialmamba train`, its output in a file.
class Program {
 public:
  Program(const std::vector<std::string>& arguments, const std::filesystem::path& output) {
    std::vector<std::string> words = {SPATIALMAMBA_PROGRAM, "train"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    process_ = ::fork();
    if (process_ == 0) {
      const int file = ::open(output.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      ::dup2(file, STDOUT_FILENO);
      ::dup2(file, STDERR_FILENO);
      ::execv(argv[0], argv.data());
      ::_exit(127);
    }
  }
  ~Program() {
    if (process_ > 0) send(SIGKILL), wait();
  }
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  void send(int signal) const { ::kill(process_, signal); }

  /// The exit code, or 128 + the signal that ended it.
  int wait() {
    int status = 0;
    ::waitpid(process_, &status, 0);
    process_ = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }

 private:
  pid_t process_ = 0;
};

class Programs : public testing::Test {
 protected:
  Programs() {
    write_pictures("train", test::make_pictures(38, 1));
    write_pictures("val", test::make_pictures(15, 2));
    Recipe recipe = test::small_recipe();
    recipe.train.epochs = 20;                 // long enough to be killed several times
    recipe.output.checkpoint_minutes = 1e-6;  // after every update
    write_text(path("recipe.yaml"), to_yaml(recipe));
  }

  std::filesystem::path path(const std::string& name) const { return folder_.path() / name; }

  void write_pictures(const std::string& part, const data::Dataset& pictures) const {
    for (std::int64_t i = 0; i < pictures.size(); ++i) {
      const auto label = static_cast<std::size_t>(pictures.labels[static_cast<std::size_t>(i)]);
      image::write_image(path("data") / part / pictures.classes[label] / fmt::format("{:03}.png", i),
                         pictures.load(i));
    }
  }

  std::vector<std::string> arguments(const std::string& out,
                                     const std::vector<std::string>& more = {}) const {
    std::vector<std::string> list = {"--config", path("recipe.yaml"), "--data",    path("data"),
                                     "--out",    path(out),           "--threads", "1"};
    list.insert(list.end(), more.begin(), more.end());
    return list;
  }

  std::string output() const { return read_text(path("output.txt")); }

  int run(const std::vector<std::string>& arguments) const {
    return Program(arguments, path("output.txt")).wait();
  }

  /// Waits until a run has saved a state other than `after`; false when it takes too long.
  bool wait_for_checkpoint(const RunFolder& out, std::int64_t after) const {
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < deadline) {
      const bool saved = std::filesystem::exists(out.checkpoint());
      if (saved && read_saved_run(out.checkpoint()).progress.updates > after) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return false;
  }

  test::TemporaryFolder folder_;
};

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
  EXPECT_EQ(run({"--data", path("data"), "--out", path("out")}), 2);
  EXPECT_THAT(output(), HasSubstr("--config"));
  EXPECT_EQ(run({"--config", path("none.yaml"), "--data", path("data"), "--out", path("out")}), 1);
  EXPECT_THAT(output(), HasSubstr("none.yaml"));
  EXPECT_FALSE(std::filesystem::exists(path("out")));
}

TEST_F(Programs, ShowConfigPrintsAReadableRecipe) {
  EXPECT_EQ(run({"--config", path("recipe.yaml"), "--show-config", "train.epochs=3"}), 0);
  const Recipe recipe = parse_recipe(output(), "output");
  EXPECT_EQ(recipe.train.epochs, 3);
  EXPECT_EQ(recipe.model.variant, "custom");
}

}  // namespace
}  // namespace spatialmamba::train
