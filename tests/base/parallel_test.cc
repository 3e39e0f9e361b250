#include "base/parallel.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#include "base/error.h"

namespace spatialmamba {
namespace {

using testing::Each;

/// The ranges of one call, in order of their beginnings.
std::vector<std::pair<std::int64_t, std::int64_t>> ranges_of(const ParallelFor& parallel, std::int64_t n,
                                                             std::int64_t grain) {
  std::mutex mutex;
  std::vector<std::pair<std::int64_t, std::int64_t>> ranges;
  parallel(n, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::lock_guard lock(mutex);
    ranges.emplace_back(begin, end);
  });
  std::sort(ranges.begin(), ranges.end());
  return ranges;
}

void expect_cover(const ParallelFor& parallel, std::int64_t n, std::int64_t grain) {
  SCOPED_TRACE(testing::Message() << "n " << n << ", grain " << grain << ", threads " << parallel.threads());
  const auto ranges = ranges_of(parallel, n, grain);
  std::int64_t covered = 0;
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    EXPECT_EQ(ranges[i].first, covered);
    covered = ranges[i].second;
    if (i + 1 < ranges.size()) {
      EXPECT_GE(ranges[i].second - ranges[i].first, grain);
    }
  }
  EXPECT_EQ(covered, std::max<std::int64_t>(n, 0));
}

TEST(ThreadPool, RangesCoverEverythingOnce) {
  for (const int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    EXPECT_EQ(pool.parallel_for().threads(), threads);
    for (const std::int64_t n : {-3, 0, 1, 2, 7, 64, 1000, 4097}) {
      for (const std::int64_t grain : {0, 1, 2, 16, 999, 5000}) expect_cover(pool.parallel_for(), n, grain);
    }
  }
}

TEST(ParallelFor, ByDefaultRunsSeriallyInOneRange) {
  const ParallelFor serial;
  EXPECT_EQ(serial.threads(), 1);
  EXPECT_EQ(ranges_of(serial, 100, 1).size(), 1U);
}

TEST(ThreadPool, SharesTheWork) {
  ThreadPool pool(2);
  std::atomic<int> inside{0};
  // Each of the two bodies waits for the other: it ends only if two threads are at work.
  pool.parallel_for()(2, 1, [&](std::int64_t, std::int64_t) {
    ++inside;
    while (inside.load() < 2) std::this_thread::yield();
  });
  EXPECT_EQ(inside.load(), 2);
}

TEST(ThreadPool, ManySmallJobsInARow) {
  ThreadPool pool(4);
  std::vector<int> counts(64, 0);
  for (int i = 0; i < 2000; ++i) {
    pool.parallel_for()(64, 1, [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t k = begin; k < end; ++k) ++counts[static_cast<std::size_t>(k)];
    });
  }
  EXPECT_THAT(counts, Each(2000));
}

TEST(ThreadPool, NestedCallsRunSerially) {
  ThreadPool pool(3);
  const ParallelFor parallel = pool.parallel_for();
  std::vector<int> counts(30 * 40, 0);
  parallel(30, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const std::thread::id outer = std::this_thread::get_id();
      parallel(40, 1, [&, row](std::int64_t from, std::int64_t to) {
        EXPECT_EQ(std::this_thread::get_id(), outer);
        for (std::int64_t k = from; k < to; ++k) ++counts[static_cast<std::size_t>(row * 40 + k)];
      });
    }
  });
  EXPECT_THAT(counts, Each(1));
}

TEST(ThreadPool, TwoPoolsMayNestInEitherOrder) {
  ThreadPool outer(2);
  ThreadPool inner(2);
  std::atomic<int> count{0};
  outer.parallel_for()(64, 1, [&](std::int64_t begin, std::int64_t end) {
    inner.parallel_for()(end - begin, 1, [&](std::int64_t from, std::int64_t to) {
      outer.parallel_for()(10 * (to - from), 1,
                           [&](std::int64_t a, std::int64_t b) { count += static_cast<int>(b - a); });
    });
  });
  EXPECT_EQ(count.load(), 640);
}

TEST(ThreadPool, SeveralCallersAtOnce) {
  ThreadPool pool(2);
  std::atomic<int> count{0};
  const auto caller = [&] {
    for (int i = 0; i < 300; ++i) {
      pool.parallel_for()(
          20, 1, [&](std::int64_t begin, std::int64_t end) { count += static_cast<int>(end - begin); });
    }
  };
  std::thread other(caller);
  caller();
  other.join();
  EXPECT_EQ(count.load(), 12000);
}

TEST(ThreadPool, ExceptionsReachTheCallerAndThePoolGoesOn) {
  ThreadPool pool(3);
  const ParallelFor parallel = pool.parallel_for();
  for (int round = 0; round < 50; ++round) {
    const auto throwing = [&](std::int64_t begin, std::int64_t) {
      if (begin % 2 == 0) fail("range {} went wrong", begin);
    };
    EXPECT_THROW(parallel(100, 1, throwing), Error);
    expect_cover(parallel, 100, 1);
  }
  const auto nested = [&](std::int64_t, std::int64_t) {
    parallel(10, 1, [](std::int64_t, std::int64_t) { fail("inside"); });
  };
  EXPECT_THROW(parallel(10, 1, nested), Error);
  expect_cover(parallel, 10, 1);
}

TEST(ThreadPool, NeedsAThread) {
  EXPECT_THROW(ThreadPool(0), Error);
  EXPECT_THROW(ThreadPool(-2), Error);
  EXPECT_GE(available_cores(), 1);
}

}  // namespace
}  // namespace spatialmamba
