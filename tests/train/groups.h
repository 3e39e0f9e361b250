#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "distributed/group.h"
#include "launch/supervisor.h"
#include "train/trainer.h"

namespace spatialmamba::test {

/// What numbers may differ by that were added up in another order, in double precision.
inline constexpr double kRounding = 1e-10;

/// work(group) in a group of so many processes, here threads of one: a group knows no difference.
template <typename Work>
void in_group(int processes, const Work& work) {
  constexpr std::chrono::seconds kTimeout(60);
  const std::uint16_t port = launch::free_port();
  std::vector<std::thread> threads;
  for (int rank = 0; rank < processes; ++rank) {
    threads.emplace_back([&, rank] {
      const auto group = distributed::Group::join({.rank = rank, .ranks = processes, .port = port}, kTimeout);
      work(group);
      group->finish();
    });
  }
  for (std::thread& thread : threads) thread.join();
}

/// A process's options of a run in `out`, which continues what is there and stops when `rank` is asked for
/// the `stop_at`-th time (below 0: never).
inline train::RunOptions stoppable(const std::filesystem::path& out,
                                   const std::shared_ptr<distributed::Group>& group, int rank, int stop_at) {
  train::RunOptions options;
  options.out = out;
  options.resume = true;
  options.group = group;
  const bool may_stop = stop_at >= 0 && (!group || group->rank() == rank);
  options.stop = [=, asked = 0]() mutable { return may_stop && ++asked >= stop_at; };
  return options;
}

}  // namespace spatialmamba::test
