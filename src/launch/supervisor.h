#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace spatialmamba::launch {

/// The processes that this machine contributes to a group.
struct Job {
  std::vector<std::string> command = {};  ///< the first word is the path of the program
  int processes = 1;
  int first_rank = 0;
  int ranks = 1;  ///< on all machines together
  std::string address = "127.0.0.1";
  std::uint16_t port = 0;
  /// How long the others may take to end by themselves once one has failed; then they are killed.
  std::chrono::seconds grace{10};
};

struct JobResult {
  std::string failure;       ///< one sentence that names the rank; empty where all went well
  bool interrupted = false;  ///< ended by SIGINT or SIGTERM, which are handed on to all
};

/// Starts the processes with RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT in
/// their environment, their streams being this process's, and waits until the last has ended. Whatever
/// happens, none is left behind: they die with this process too.
JobResult run_job(const Job& job);

/// A TCP port of this machine that nobody listens at.
std::uint16_t free_port();

}  // namespace spatialmamba::launch
