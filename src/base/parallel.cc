#include "base/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include "base/error.h"

namespace spatialmamba {
namespace {

// The pool whose range this thread is working on: a nested call runs serially instead of waiting for itself.
thread_local const void* t_active_pool = nullptr;

}  // namespace

struct ThreadPool::State {
  std::vector<std::thread> workers;
  std::mutex mutex;
  std::condition_variable work_ready;
  std::condition_variable work_done;
  std::uint64_t generation = 0;
  bool stopping = false;
  int busy = 0;

  // The current job; written under the mutex before `generation` moves.
  const RangeBody* body = nullptr;
  std::int64_t n = 0;
  std::int64_t chunk = 0;
  std::atomic<std::int64_t> next{0};
  std::exception_ptr failure;

  int threads() const { return static_cast<int>(workers.size()) + 1; }

  void work() {
    const void* outer = t_active_pool;
    t_active_pool = this;
    try {
      for (std::int64_t begin = next.fetch_add(chunk); begin < n; begin = next.fetch_add(chunk)) {
        (*body)(begin, std::min(begin + chunk, n));
      }
    } catch (...) {
      next.store(n);
      const std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
    t_active_pool = outer;
  }

  void loop() {
    std::uint64_t seen = 0;
    std::unique_lock lock(mutex);
    while (true) {
      work_ready.wait(lock, [&] { return stopping || generation != seen; });
      if (stopping) return;
      seen = generation;
      lock.unlock();
      work();
      lock.lock();
      if (--busy == 0) work_done.notify_one();
    }
  }

  static void run(void* context, std::int64_t n, std::int64_t grain, RangeBody body) {
    auto& self = *static_cast<State*>(context);
    if (t_active_pool == &self || self.workers.empty()) {
      body(0, n);
      return;
    }
    // Four ranges a thread even out unequal speeds without making the ranges too small to be worth a hand-over.
    const std::int64_t ranges = 4 * self.threads();
    {
      const std::lock_guard lock(self.mutex);
      self.body = &body;
      self.n = n;
      self.chunk = std::max({grain, (n + ranges - 1) / ranges, std::int64_t{1}});
      self.next.store(0);
      self.failure = nullptr;
      self.busy = static_cast<int>(self.workers.size());
      ++self.generation;
    }
    self.work_ready.notify_all();
    self.work();
    std::unique_lock lock(self.mutex);
    self.work_done.wait(lock, [&] { return self.busy == 0; });
    if (self.failure) std::rethrow_exception(self.failure);
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  if (threads < 1) fail("a thread pool needs at least 1 thread, not {}", threads);
  State* state = state_.get();
  for (int i = 1; i < threads; ++i) state->workers.emplace_back([state] { state->loop(); });
}

ThreadPool::~ThreadPool() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->work_ready.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

int ThreadPool::threads() const { return state_->threads(); }

ParallelFor ThreadPool::parallel_for() { return {&State::run, state_.get(), state_->threads()}; }

int available_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  return std::max(1, CPU_COUNT(&set));
}

}  // namespace spatialmamba
