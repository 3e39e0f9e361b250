#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace spatialmamba::launch {

/// One process among those that work together, as whatever started it says in the environment.
struct Place {
  int rank = 0;
  int ranks = 1;
  int local_rank = 0;                 ///< its number among those on this machine
  int local_ranks = 1;                ///< processes on this machine, which share its cores
  std::string address = "127.0.0.1";  ///< of the machine of rank 0
  std::uint16_t port = 0;
  bool has_store = false;    ///< the launcher keeps the key-value store at that address itself (torchrun)
  std::string attempt = {};  ///< tells the tries of a launcher that restarts apart
};

/// The value of an environment variable, or null.
using Environment = std::function<const char*(const char*)>;

/// Reads, in this order, what `spatialmamba launch` and torchrun (RANK, WORLD_SIZE, MASTER_ADDR,
/// MASTER_PORT), Open MPI's mpirun and Slurm's srun leave. Nothing where none of them started this process.
/// Throws UsageError naming the variable that is missing or makes no sense.
std::optional<Place> place_from_environment(const Environment& environment);

}  // namespace spatialmamba::launch
