#include "distributed/group.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "base/error.h"
#include "device/cuda.h"
#include "distributed/group_backend.h"
#include "distributed/pulse.h"
#include "launch/lost_rank.h"

namespace spatialmamba::distributed {
namespace {

std::string first_line(const std::string& text) {
  return text.substr(0, text.find('\n'));
}

/// The reducer warns that no parameter is unused though it may expect some, and where a gradient's memory
/// format is not its parameter's: neither is news to a user.
class Silence : public c10::WarningHandler {
 public:
  void process(const c10::Warning&) override {}
};

std::string presence_key(int rank) {
  return fmt::format("here/{}", rank);
}

/// Waits until all processes have shown up in the store.
void meet(c10d::Store& store, const launch::Place& place, std::chrono::seconds timeout) {
  store.set(presence_key(place.rank), std::vector<std::uint8_t>{1});
  std::vector<std::string> keys;
  for (int rank = 0; rank < place.ranks; ++rank) keys.push_back(presence_key(rank));
  try {
    store.wait(keys, timeout);
  } catch (const std::exception&) {
    std::vector<int> missing;
    for (int rank = 0; rank < place.ranks; ++rank) {
      if (!store.check({presence_key(rank)})) missing.push_back(rank);
    }
    throw launch::LostRank(fmt::format("waited {} s for {} processes; missing: rank {}", timeout.count(),
                                       place.ranks, fmt::join(missing, ", ")));
  }
}

}  // namespace

Group::Group(const launch::Place& place)
    : rank_(place.rank), size_(place.ranks), local_rank_(place.local_rank) {}

Group::~Group() = default;

std::shared_ptr<Group> Group::join(const launch::Place& place, std::chrono::seconds timeout) {
  std::shared_ptr<Group> group(new Group(place));
  group->timeout_ = timeout;
  try {
    const c10::intrusive_ptr<c10d::Store> store = open_store(place, timeout);
    group->store_ = store;
    meet(*store, place, timeout);
    group->processes_ = connect(store, place, timeout);
    group->pulse_ = std::make_unique<Pulse>(store->clone(), place.rank, place.ranks);
    torch::Tensor all_have_a_pulse = torch::ones({1});
    group->sum(all_have_a_pulse);
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    throw launch::LostRank(fmt::format("cannot join the other processes at {}:{}: {}", place.address,
                                       place.port, first_line(error.what())));
  }
  return group;
}

void Group::explain(const std::string& what) const {
  const std::vector<std::string> lost = pulse_->find_lost();
  if (lost.empty()) {
    throw launch::LostRank(
        fmt::format("the processes lost touch, though all are alive: {}", first_line(what)));
  }
  throw launch::LostRank(fmt::format("{}", fmt::join(lost, "; ")));
}

void Group::guard(const std::function<void()>& work) {
  pulse_->count_step();
  Silence silence;
  const c10::WarningUtils::WarningHandlerGuard quiet(&silence);
  try {
    work();
  } catch (const Error&) {
    throw;
  } catch (const std::exception& error) {
    explain(error.what());
  }
}

void Group::add_gpu(const torch::Device& gpu) {
  guard([&] { gpus_ = device::add_nccl(*processes_, store_, gpu, timeout_); });
  torch::Tensor all_have_theirs = torch::ones({1}, gpu);
  sum(all_have_theirs);
}

void Group::sum(torch::Tensor& values) {
  guard([&] {
    std::vector<torch::Tensor> tensors{values};
    processes_->allreduce(tensors)->wait();
  });
}

void Group::broadcast(torch::Tensor& values) {
  guard([&] {
    std::vector<torch::Tensor> tensors{values};
    processes_->broadcast(tensors)->wait();
  });
}

std::vector<std::string> Group::gather(const std::string& bytes) {
  torch::Tensor lengths = torch::zeros({size_}, torch::kInt64);
  lengths[rank_] = static_cast<std::int64_t>(bytes.size());
  sum(lengths);
  const torch::Tensor own =
      torch::zeros({std::max<std::int64_t>(1, lengths.max().item<std::int64_t>())}, torch::kUInt8);
  std::copy(bytes.begin(), bytes.end(), own.mutable_data_ptr<std::uint8_t>());
  std::vector<torch::Tensor> all;
  for (int rank = 0; rank < size_; ++rank) all.push_back(torch::empty_like(own));
  guard([&] {
    std::vector<std::vector<torch::Tensor>> outputs{all};
    std::vector<torch::Tensor> inputs{own};
    processes_->allgather(outputs, inputs)->wait();
  });
  std::vector<std::string> texts;
  for (int rank = 0; rank < size_; ++rank) {
    const std::uint8_t* begin = all[static_cast<std::size_t>(rank)].const_data_ptr<std::uint8_t>();
    texts.emplace_back(begin, begin + lengths[rank].item<std::int64_t>());
  }
  return texts;
}

void Group::wait_for_all() {
  torch::Tensor nothing = torch::zeros({1});
  sum(nothing);
}

bool Group::ask_writer(const std::function<bool()>& question) {
  torch::Tensor answer = torch::zeros({1}, torch::kInt32);
  if (is_writer()) answer.fill_(question() ? 1 : 0);
  broadcast(answer);
  return answer.item<int>() != 0;
}

void Group::finish() {
  // NCCL's own threads end before the store does that they watch.
  if (gpus_) guard([&] { gpus_->shutdown(); });
  pulse_->leave({}, is_writer());
}

void Group::leave(const std::string& reason) {
  try {
    if (gpus_) gpus_->abort();  // does not wait for those who may be gone
  } catch (const std::exception&) {
    // Why this process leaves matters more.
  }
  pulse_->leave(reason, is_writer());
}

}  // namespace spatialmamba::distributed
