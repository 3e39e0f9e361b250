#include "launch/supervisor.h"

#include <netinet/in.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "launch/lost_rank.h"

namespace spatialmamba::launch {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kInterrupted = 130;

struct Child {
  int rank = 0;
  pid_t process = 0;
  bool running = true;
  bool stopped_by_us = false;
  int status = 0;  ///< as waitpid() gives it
};

/// Blocks the signals that the supervisor waits for, and puts the mask back.
class BlockedSignals {
 public:
  BlockedSignals() {
    sigemptyset(&set_);
    for (const int signal : {SIGCHLD, SIGINT, SIGTERM}) sigaddset(&set_, signal);
    sigprocmask(SIG_BLOCK, &set_, &before_);
  }
  ~BlockedSignals() { sigprocmask(SIG_SETMASK, &before_, nullptr); }
  BlockedSignals(const BlockedSignals&) = delete;
  BlockedSignals& operator=(const BlockedSignals&) = delete;

  /// The next signal, or nothing at the deadline.
  std::optional<int> wait(const std::optional<Clock::time_point>& deadline) const {
    const auto left =
        deadline ? std::max(*deadline - Clock::now(), Clock::duration::zero()) : Clock::duration::max();
    const auto seconds =
        std::min(std::chrono::duration_cast<std::chrono::seconds>(left), std::chrono::seconds(3600));
    const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(left - seconds);
    const timespec time{.tv_sec = seconds.count(), .tv_nsec = std::min<long>(rest.count(), 999'999'999L)};
    const int signal = sigtimedwait(&set_, nullptr, &time);
    return signal > 0 ? std::optional(signal) : std::nullopt;
  }
  const sigset_t& before() const { return before_; }

 private:
  sigset_t set_{};
  sigset_t before_{};
};

void set_environment(const Job& job, int local_rank) {
  const auto set = [](const char* name, const std::string& value) { ::setenv(name, value.c_str(), 1); };
  set("RANK", std::to_string(job.first_rank + local_rank));
  set("WORLD_SIZE", std::to_string(job.ranks));
  set("LOCAL_RANK", std::to_string(local_rank));
  set("LOCAL_WORLD_SIZE", std::to_string(job.processes));
  set("MASTER_ADDR", job.address);
  set("MASTER_PORT", std::to_string(job.port));
  ::unsetenv("TORCHELASTIC_USE_AGENT_STORE");
  ::unsetenv("TORCHELASTIC_RESTART_COUNT");
  // LibTorch's own remarks about a connection that broke; the program says it better.
  ::setenv("TORCH_CPP_LOG_LEVEL", "ERROR", 0);
}

Child start(const Job& job, int local_rank, const sigset_t& mask) {
  std::vector<char*> words;
  for (const std::string& word : job.command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  const pid_t parent = ::getpid();
  const pid_t process = ::fork();
  if (process < 0) fail("cannot start a process: {}", std::strerror(errno));
  if (process == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(kLostRank);
    ::setpgid(0, 0);  // a terminal's Ctrl-C reaches the supervisor alone, which hands it on once
    set_environment(job, local_rank);
    sigprocmask(SIG_SETMASK, &mask, nullptr);
    ::execv(words.front(), words.data());
    ::_exit(127);
  }
  return {.rank = job.first_rank + local_rank, .process = process};
}

bool was_interrupted(const Child& child) {
  return WIFEXITED(child.status) && WEXITSTATUS(child.status) == kInterrupted;
}

bool has_failed(const Child& child) {
  return !(WIFEXITED(child.status) && WEXITSTATUS(child.status) == 0) && !was_interrupted(child);
}

std::string how_it_ended(const Child& child) {
  if (child.stopped_by_us) return "did not end by itself";
  if (!WIFSIGNALED(child.status)) return fmt::format("failed with exit code {}", WEXITSTATUS(child.status));
  const int signal = WTERMSIG(child.status);
  return fmt::format("was killed by signal {} ({})", signal, ::strsignal(signal));
}

class Supervisor {
 public:
  explicit Supervisor(const Job& job) : job_(job) {
    for (int i = 0; i < job.processes; ++i) children_.push_back(start(job, i, signals_.before()));
  }
  ~Supervisor() {
    kill_all();
    for (Child& child : children_) {
      if (child.running) ::waitpid(child.process, &child.status, 0);
    }
  }
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  JobResult run() {
    while (any_running()) {
      const std::optional<int> signal = signals_.wait(deadline_);
      if (signal == SIGINT || signal == SIGTERM) hand_on(*signal);
      reap();
      if (deadline_ && Clock::now() >= *deadline_) kill_all();
    }
    JobResult result{.failure = blame()};
    result.interrupted = result.failure.empty() && std::ranges::any_of(children_, was_interrupted);
    return result;
  }

 private:
  bool any_running() const {
    return std::ranges::any_of(children_, [](const Child& child) { return child.running; });
  }

  void hand_on(int signal) const {
    for (const Child& child : children_) {
      if (child.running) ::kill(child.process, signal);
    }
  }

  void kill_all() {
    for (Child& child : children_) {
      if (!child.running) continue;
      child.stopped_by_us = true;
      ::kill(child.process, SIGKILL);
    }
  }

  void reap() {
    for (Child& child : children_) {
      if (!child.running || ::waitpid(child.process, &child.status, WNOHANG) != child.process) continue;
      child.running = false;
      if (has_failed(child)) {
        ended_.push_back(child);
        if (!deadline_) deadline_ = Clock::now() + job_.grace;
      }
    }
  }

  /// Who is to blame: a process that was killed, else one that failed by itself, else one that had to be
  /// stopped; those that only lost another one come last.
  std::string blame() const {
    const auto severity = [](const Child& child) {
      if (child.stopped_by_us) return 2;
      if (WIFSIGNALED(child.status)) return 0;
      return WEXITSTATUS(child.status) == kLostRank ? 3 : 1;
    };
    if (ended_.empty()) return {};
    const Child& worst = *std::ranges::min_element(ended_, {}, severity);  // the first of equals
    if (severity(worst) == 3) return fmt::format("rank {} lost another machine's rank", worst.rank);
    return fmt::format("rank {} {}", worst.rank, how_it_ended(worst));
  }

  const Job& job_;
  BlockedSignals signals_;
  std::vector<Child> children_;
  std::vector<Child> ended_;  ///< those that failed, in their order
  std::optional<Clock::time_point> deadline_;
};

}  // namespace

JobResult run_job(const Job& job) {
  return Supervisor(job).run();
}

std::uint16_t free_port() {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  const bool ok = descriptor >= 0 && ::bind(descriptor, generic, size) == 0 &&
                  ::getsockname(descriptor, generic, &size) == 0;
  if (descriptor >= 0) ::close(descriptor);
  if (!ok) fail("no free TCP port: {}", std::strerror(errno));
  return ntohs(address.sin_port);
}

}  // namespace spatialmamba::launch
