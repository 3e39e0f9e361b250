#pragma once

#include <torch/torch.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "launch/place.h"

namespace c10d {
class Backend;
class ProcessGroup;
class Store;
}  // namespace c10d

namespace spatialmamba::distributed {

class Pulse;

/// The processes that train one model together, each on its share of the images. Every process calls the same
/// functions in the same order. Where another one dies, leaves or stands still, they throw launch::LostRank
/// naming it: at once for a connection that broke, after the time-out otherwise.
class Group {
 public:
  /// Meets the others. Throws LostRank listing those who have not come within `timeout`.
  static std::shared_ptr<Group> join(const launch::Place& place, std::chrono::seconds timeout);
  ~Group();
  Group(const Group&) = delete;
  Group& operator=(const Group&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  /// Among the processes of its machine.
  int local_rank() const { return local_rank_; }
  /// The one that writes files and speaks to the user.
  bool is_writer() const { return rank_ == 0; }

  /// From now on tensors of this process's GPU can be summed and sent too, over NCCL; each process has one.
  void add_gpu(const torch::Device& gpu);

  /// Replaces the values by their sum over all processes: the same bits in each.
  void sum(torch::Tensor& values);
  /// Replaces the values by those of rank 0.
  void broadcast(torch::Tensor& values);
  /// What each process gives, by rank, in all of them; of any length.
  std::vector<std::string> gather(const std::string& bytes);
  /// Returns when all processes have come here.
  void wait_for_all();
  /// The writer's answer, in all processes.
  bool ask_writer(const std::function<bool()>& question);

  /// Runs work that waits for the others, and explains its failure where one of them is the cause.
  void guard(const std::function<void()>& work);

  /// Ends the work in common, in all processes. Nothing may be called afterwards.
  void finish();
  /// Says goodbye before the end, so that the others know why; `reason` may be empty. Nothing may be called
  /// afterwards.
  void leave(const std::string& reason);

  /// LibTorch's own, for what is built on it.
  const c10::intrusive_ptr<c10d::ProcessGroup>& processes() const { return processes_; }

 private:
  explicit Group(const launch::Place& place);
  [[noreturn]] void explain(const std::string& what) const;

  int rank_;
  int size_;
  int local_rank_;
  std::chrono::seconds timeout_{0};
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::ProcessGroup> processes_;
  c10::intrusive_ptr<c10d::Backend> gpus_;  ///< null where the group computes on CPUs
  std::unique_ptr<Pulse> pulse_;
};

}  // namespace spatialmamba::distributed
