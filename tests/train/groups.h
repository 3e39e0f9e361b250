#pragma once

#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "distributed/group.h"
#include "launch/supervisor.h"

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
      group->leave({});
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace spatialmamba::test
