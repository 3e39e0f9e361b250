#pragma once

#include <fcntl.h>
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

inline constexpr auto kPatience = std::chrono::seconds(120);

/// The running program, its output in a file.
class Program {
 public:
  Program(const std::vector<std::string>& arguments, const std::filesystem::path& output) {
    std::vector<std::string> words = {SPATIALMAMBA_PROGRAM};
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
  pid_t process() const { return process_; }

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

/// Runs of the program on data and with a recipe in files.
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

  /// train with the recipe into a folder.
  std::vector<std::string> arguments(const std::string& out,
                                     const std::vector<std::string>& more = {}) const {
    std::vector<std::string> list = {"train", "--config", path("recipe.yaml"), "--data", path("data"),
                                     "--out", path(out),  "--threads",         "1"};
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

}  // namespace spatialmamba::train
