#include "launch/place.h"

#include <charconv>
#include <limits>

#include "base/error.h"

namespace spatialmamba::launch {
namespace {

/// Where ranks meet when the launcher names no port: above the ports that systems hand out, by job.
constexpr int kFirstPort = 61000;
constexpr int kPorts = 4000;
constexpr int kMostRanks = 1 << 20;

int parse_number(const std::string& name, const std::string& text, int low, int high) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    fail_usage("environment variable {}: expected a number from {} to {}, found '{}'", name, low, high, text);
  }
  return value;
}

class Reader {
 public:
  explicit Reader(const Environment& environment) : environment_(environment) {}

  bool has(const char* name) const { return environment_(name) != nullptr; }
  std::string text(const char* name, const std::string& otherwise = {}) const {
    const char* value = environment_(name);
    return value == nullptr ? otherwise : value;
  }
  int number(const char* name, int low, int high) const {
    if (!has(name)) fail_usage("environment variable {} is missing beside those of its launcher", name);
    return parse_number(name, text(name), low, high);
  }
  int number(const char* name, int low, int high, int otherwise) const {
    return has(name) ? number(name, low, high) : otherwise;
  }

 private:
  const Environment& environment_;
};

/// "gpu[03-05,9],cpu1" -> "gpu03": Slurm's list of nodes, of which the first runs rank 0.
std::string first_node(const std::string& nodes) {
  const std::size_t bracket = nodes.find('[');
  const std::size_t comma = nodes.find(',');
  if (bracket == std::string::npos || comma < bracket) return nodes.substr(0, comma);
  const std::size_t end = nodes.find_first_of("-,]", bracket);
  return nodes.substr(0, bracket) + nodes.substr(bracket + 1, end - bracket - 1);
}

std::uint16_t port_of_job(const std::string& job) {
  std::uint32_t hash = 0;
  for (const char c : job) hash = hash * 31 + static_cast<unsigned char>(c);
  return static_cast<std::uint16_t>(kFirstPort + static_cast<int>(hash % kPorts));
}

std::uint16_t port_of(const Reader& reader, const std::string& job) {
  constexpr int kMostPorts = std::numeric_limits<std::uint16_t>::max();
  if (!reader.has("MASTER_PORT")) return port_of_job(job);
  return static_cast<std::uint16_t>(reader.number("MASTER_PORT", 1, kMostPorts));
}

Place from_torchrun(const Reader& reader) {
  Place place;
  place.ranks = reader.number("WORLD_SIZE", 1, kMostRanks);
  place.rank = reader.number("RANK", 0, place.ranks - 1);
  place.local_ranks = reader.number("LOCAL_WORLD_SIZE", 1, kMostRanks, 1);
  place.local_rank = reader.number("LOCAL_RANK", 0, kMostRanks, 0);
  place.address = reader.text("MASTER_ADDR", place.address);
  if (place.ranks > 1 && !reader.has("MASTER_PORT")) {
    fail_usage("environment variable MASTER_PORT is missing beside RANK and WORLD_SIZE");
  }
  place.port = port_of(reader, {});
  place.has_store = reader.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  place.attempt = reader.text("TORCHELASTIC_RESTART_COUNT");
  return place;
}

Place from_mpirun(const Reader& reader) {
  Place place;
  place.ranks = reader.number("OMPI_COMM_WORLD_SIZE", 1, kMostRanks);
  place.rank = reader.number("OMPI_COMM_WORLD_RANK", 0, place.ranks - 1);
  place.local_ranks = reader.number("OMPI_COMM_WORLD_LOCAL_SIZE", 1, kMostRanks, 1);
  place.local_rank = reader.number("OMPI_COMM_WORLD_LOCAL_RANK", 0, kMostRanks, 0);
  if (place.local_ranks < place.ranks && !reader.has("MASTER_ADDR")) {
    fail_usage(
        "mpirun started {} processes on several machines: give the address of rank 0's with -x "
        "MASTER_ADDR=HOST",
        place.ranks);
  }
  place.address = reader.text("MASTER_ADDR", place.address);
  place.port = port_of(reader, reader.text("PMIX_NAMESPACE"));
  return place;
}

Place from_srun(const Reader& reader) {
  Place place;
  place.ranks = reader.number("SLURM_STEP_NUM_TASKS", 1, kMostRanks);
  place.rank = reader.number("SLURM_PROCID", 0, place.ranks - 1);
  place.local_rank = reader.number("SLURM_LOCALID", 0, kMostRanks, 0);
  // srun binds each task to cores of its own, unless told otherwise: nothing to share.
  const std::string nodes = reader.text("SLURM_STEP_NODELIST", place.address);
  place.address = reader.text("MASTER_ADDR", first_node(nodes));
  place.port = port_of(reader, reader.text("SLURM_JOB_ID") + "." + reader.text("SLURM_STEP_ID"));
  return place;
}

}  // namespace

std::optional<Place> place_from_environment(const Environment& environment) {
  const Reader reader(environment);
  if (reader.has("RANK") && reader.has("WORLD_SIZE")) return from_torchrun(reader);
  if (reader.has("OMPI_COMM_WORLD_RANK")) return from_mpirun(reader);
  // A batch script has SLURM_PROCID too, though srun started nothing.
  if (reader.has("SLURM_PROCID") && reader.has("SLURM_STEP_NUM_TASKS")) return from_srun(reader);
  return std::nullopt;
}

}  // namespace spatialmamba::launch
