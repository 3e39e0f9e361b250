#include "base/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace spatialmamba {
namespace {

/// How long a waiting thread stays awake. Time, not rounds: the length of a pause differs tenfold between
/// processors, and a thousandfold under an emulator.
constexpr std::chrono::microseconds kAwake{200};
/// Between two looks at the clock, which takes longer than a look at what is awaited.
constexpr int kRoundsPerLook = 16;

/// Leaves the core to its other hardware thread for a moment.
void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> workers;
  // Set while a caller's job is under way. Who meets it set, a body that calls again or another thread, works
  // alone instead of waiting.
  std::atomic_flag in_use;
  std::mutex mutex;
  std::condition_variable work_ready;
  std::condition_variable work_done;
  // Both change under the mutex, so that nobody sleeps through a change; reading needs none.
  std::atomic<std::uint64_t> generation{0};
  std::atomic<int> busy{0};
  std::atomic<bool> stopping{false};

  // The current job; written before `generation` moves.
  const RangeBody* body = nullptr;
  std::int64_t n = 0;
  std::int64_t chunk = 0;
  std::atomic<std::int64_t> next{0};
  std::exception_ptr failure;

  ~State() {
    {
      const std::lock_guard lock(mutex);
      stopping.store(true);
    }
    work_ready.notify_all();
    for (std::thread& worker : workers) worker.join();
  }

  int threads() const { return static_cast<int>(workers.size()) + 1; }

  void work() {
    try {
      for (std::int64_t begin = next.fetch_add(chunk); begin < n; begin = next.fetch_add(chunk)) {
        (*body)(begin, std::min(begin + chunk, n));
      }
    } catch (...) {
      next.store(n);
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  }

  /// Waits until `ready`: awake at first, since the next job of a network's many follows within microseconds
  /// and waking a sleeper takes longer than most of them.
  template <typename Ready>
  void wait(std::condition_variable& signal, const Ready& ready) {
    const auto asleep = std::chrono::steady_clock::now() + kAwake;
    do {
      for (int i = 0; i < kRoundsPerLook; ++i) {
        if (ready()) return;
        pause();
      }
    } while (std::chrono::steady_clock::now() < asleep);
    std::unique_lock lock(mutex);
    signal.wait(lock, ready);
  }

  void loop() {
    std::uint64_t seen = 0;
    while (true) {
      wait(work_ready, [&] { return stopping.load() || generation.load() != seen; });
      if (stopping.load()) return;
      seen = generation.load();
      work();
      if (busy.fetch_sub(1) == 1) {
        const std::lock_guard lock(mutex);
        work_done.notify_one();
      }
    }
  }

  static void run(void* context, std::int64_t n, std::int64_t grain, RangeBody body) {
    auto& self = *static_cast<State*>(context);
    if (self.workers.empty() || self.in_use.test_and_set(std::memory_order_acquire)) {
      body(0, n);
      return;
    }
    self.share(n, grain, body);
    const std::exception_ptr failure = std::exchange(self.failure, nullptr);
    self.in_use.clear(std::memory_order_release);
    if (failure) std::rethrow_exception(failure);
  }

  void share(std::int64_t items, std::int64_t grain, const RangeBody& shared_body) {
    // Many ranges a thread even out unequal speeds without making the ranges too small to be worth a
    // hand-over.
    constexpr std::int64_t kRangesPerThread = 16;
    const std::int64_t ranges = kRangesPerThread * threads();
    {
      const std::lock_guard lock(mutex);
      body = &shared_body;
      n = items;
      chunk = std::max({grain, (items + ranges - 1) / ranges, std::int64_t{1}});
      next.store(0);
      busy.store(static_cast<int>(workers.size()));
      generation.fetch_add(1);
    }
    work_ready.notify_all();
    work();
    wait(work_done, [&] { return busy.load() == 0; });
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1) fail("a thread pool needs at least 1 thread, not {}", threads);
  State* state = state_.get();
  try {
    for (int i = 1; i < threads; ++i) state->workers.emplace_back([state] { state->loop(); });
  } catch (const std::system_error& error) {
    fail("{} threads cannot be started: {}", threads, error.code().message());
  }
}

ThreadPool::~ThreadPool() = default;

int ThreadPool::threads() const {
  return state_->threads();
}

ParallelFor ThreadPool::parallel_for() {
  return {&State::run, state_.get(), state_->threads()};
}

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0)
    return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace spatialmamba
