#pragma once

#include <cstdint>
#include <memory>
#include <type_traits>

namespace spatialmamba {

/// A reference to something callable as body(begin, end), valid for the duration of one call only.
class RangeBody {
 public:
  template <typename F, typename = std::enable_if_t<!std::is_same_v<std::remove_cvref_t<F>, RangeBody>>>
  RangeBody(F&& f)  // NOLINT(google-explicit-constructor): a lambda is passed where a RangeBody is expected
      : object_(const_cast<void*>(static_cast<const void*>(&f))),
        call_([](void* object, std::int64_t begin, std::int64_t end) {
          (*static_cast<std::remove_reference_t<F>*>(object))(begin, end);
        }) {}
  void operator()(std::int64_t begin, std::int64_t end) const { call_(object_, begin, end); }

 private:
  void* object_;
  void (*call_)(void*, std::int64_t, std::int64_t);
};

/// How kernels spread work: runs body over disjoint ranges that cover [0, n), each at least `grain` long but
/// for the last, and returns when all are done. A small value that refers to whoever owns the threads: a
/// ThreadPool, or LibTorch in training, so that two pools never fight for the cores. An exception thrown by a
/// body reaches the caller. Calls from inside a body run serially.
class ParallelFor {
 public:
  using Run = void (*)(void* context, std::int64_t n, std::int64_t grain, RangeBody body);

  /// Serial: one range.
  ParallelFor() = default;
  ParallelFor(Run run, void* context, int threads) : run_(run), context_(context), threads_(threads) {}

  void operator()(std::int64_t n, std::int64_t grain, RangeBody body) const {
    if (n <= 0) return;
    if (run_ == nullptr || n <= grain) {
      body(0, n);
    } else {
      run_(context_, n, grain, body);
    }
  }
  /// How many bodies may run at once.
  int threads() const { return threads_; }

 private:
  Run run_ = nullptr;
  void* context_ = nullptr;
  int threads_ = 1;
};

/// A fixed set of threads that belongs to its creator. The calling thread works too, so `threads` = 1 starts
/// none. It serves one caller at a time: a call that comes while it is at work runs serially in its own
/// thread.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const;
  /// Valid as long as the pool lives.
  ParallelFor parallel_for();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Cores that this process may run on (its CPU affinity mask), at least 1.
int available_cores();

}  // namespace spatialmamba
