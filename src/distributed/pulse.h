#pragma once

#include <torch/csrc/distributed/c10d/Store.hpp>

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace spatialmamba::distributed {

/// Signs of life in the key-value store that all processes of a group share: a thread counts up once a
/// second.
class Pulse {
 public:
  /// `store` is a connection of the pulse's own.
  Pulse(c10::intrusive_ptr<c10d::Store> store, int rank, int ranks);
  ~Pulse();
  Pulse(const Pulse&) = delete;
  Pulse& operator=(const Pulse&) = delete;

  /// One more piece of common work begun: tells who is behind.
  void count_step() { ++steps_; }

  /// Looks at the others for some seconds. One sentence about each that is gone, has left or is behind;
  /// nothing where all are well.
  std::vector<std::string> find_lost();

  /// Stops, and leaves a note why. The keeper of the store waits (not long) until the others have read it.
  void leave(const std::string& reason, bool keeps_store);

 private:
  struct Sign {
    std::int64_t beats = 0;
    std::int64_t steps = 0;
    std::optional<std::string> farewell = {};
  };

  void beat();
  void write_sign();
  Sign read_sign(int rank);
  std::vector<Sign> read_signs();
  bool others_have_left();

  std::mutex store_mutex_;
  c10::intrusive_ptr<c10d::Store> store_;
  int rank_;
  int ranks_;
  std::atomic<std::int64_t> steps_{0};
  std::int64_t beats_ = 0;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stop_ = false;
  std::thread thread_;
};

}  // namespace spatialmamba::distributed
