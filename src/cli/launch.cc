#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/error.h"
#include "base/interrupt.h"
#include "cli/verbs.h"
#include "launch/supervisor.h"
#include "train/run_folder.h"

namespace spatialmamba::cli {
namespace {

struct Options {
  int processes = 1;
  int machines = 1;
  int machine = 0;
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;
  int max_restarts = 0;
  int grace = 10;  ///< seconds
};

void check(const Options& options, const std::vector<std::string>& words) {
  if (words.empty() || words.front() != "train") {
    fail_usage("expected `train` and its options after launch's own, found '{}'",
               words.empty() ? "nothing" : words.front());
  }
  if (options.machine >= options.machines) {
    fail_usage("--machine {}: of {} machines the last is {}", options.machine, options.machines,
               options.machines - 1);
  }
  if (options.machines > 1 && options.port == 0) {
    fail_usage("several machines need an --address and a --port of the first at which to meet");
  }
}

/// The folder that `train` is told to write to.
std::filesystem::path out_folder(const std::vector<std::string>& words) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i].starts_with("--out=")) return words[i].substr(words[i].find('=') + 1);
    if ((words[i] == "--out" || words[i] == "-o") && i + 1 < words.size()) return words[i + 1];
  }
  return {};
}

/// When the run in the folder was started last; the earliest time of all where there is none.
std::filesystem::file_time_type begin_of_run(const std::filesystem::path& folder) {
  std::error_code none;
  return std::filesystem::last_write_time(train::RunFolder(folder).recipe(), none);
}

/// What a restart runs: it continues, even what was told to start over and has begun to.
std::vector<std::string> resuming(std::vector<std::string> words, bool has_begun) {
  const bool starts_over = std::ranges::find(words, "--force") != words.end();
  if (starts_over && !has_begun) return words;
  std::erase(words, "--force");
  if (std::ranges::find(words, "--resume") == words.end()) words.insert(words.begin() + 1, "--resume");
  return words;
}

void run(const Options& options, std::vector<std::string> words) {
  check(options, words);
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  launch::Job job{.processes = options.processes,
                  .first_rank = options.machine * options.processes,
                  .ranks = options.machines * options.processes,
                  .address = options.address,
                  .grace = std::chrono::seconds(options.grace)};
  const std::filesystem::path out = out_folder(words);
  const auto before = begin_of_run(out);
  for (int restarts = 0;; ++restarts) {
    job.command = {program};
    job.command.insert(job.command.end(), words.begin(), words.end());
    job.port = options.port == 0 ? launch::free_port() : options.port;
    const launch::JobResult result = launch::run_job(job);
    if (result.interrupted) throw Interrupted{};
    if (result.failure.empty()) return;
    if (restarts == options.max_restarts) fail("{}; all processes have ended", result.failure);
    fmt::print(stderr, "spatialmamba launch: {}; restart {} of {}\n", result.failure, restarts + 1,
               options.max_restarts);
    words = resuming(std::move(words), begin_of_run(out) != before);
  }
}

}  // namespace

Run add_launch(CLI::App& app) {
  constexpr int kMost = 4096;
  auto options = std::make_shared<Options>();
  app.add_option("-n,--processes", options->processes, "Processes on this machine")
      ->check(CLI::Range(1, kMost))
      ->type_name("N")
      ->required();
  app.add_option(
         "--max-restarts", options->max_restarts,
         "When a process fails, continue with all from the last checkpoint so many times (default: 0)")
      ->check(CLI::Range(0, kMost))
      ->type_name("N");
  app.add_option("--grace", options->grace,
                 "Seconds that the others have to end by themselves when one has failed (default: 10)")
      ->check(CLI::Range(0, kMost))
      ->type_name("N");
  app.add_option("--machines", options->machines, "Machines; each runs this command with its own --machine")
      ->check(CLI::Range(1, kMost))
      ->type_name("N");
  app.add_option("--machine", options->machine, "Which of them this is, from 0")
      ->check(CLI::Range(0, kMost))
      ->type_name("N");
  app.add_option("--address", options->address, "Machine 0, as the others reach it (default: 127.0.0.1)")
      ->type_name("HOST");
  app.add_option("--port", options->port, "TCP port at which they meet (default: a free one)")
      ->type_name("N");
  app.prefix_command();
  return [options, &app] { run(*options, app.remaining()); };
}

}  // namespace spatialmamba::cli
