#include "distributed/pulse.h"

#include <chrono>
#include <sstream>
#include <utility>

#include "base/error.h"

namespace spatialmamba::distributed {
namespace {

constexpr auto kBeat = std::chrono::milliseconds(1000);
/// Without a sign for so long a process counts as gone.
constexpr auto kSilence = std::chrono::milliseconds(3500);
/// The keeper of the store stays so long for the sake of the others.
constexpr auto kFarewell = std::chrono::seconds(3);
constexpr auto kLook = std::chrono::milliseconds(100);

std::string sign_key(int rank) {
  return fmt::format("pulse/{}", rank);
}
std::string farewell_key(int rank) {
  return fmt::format("left/{}", rank);
}

std::vector<std::uint8_t> to_bytes(const std::string& text) {
  return {text.begin(), text.end()};
}
std::string to_text(const std::vector<std::uint8_t>& bytes) {
  return {bytes.begin(), bytes.end()};
}

}  // namespace

Pulse::Pulse(c10::intrusive_ptr<c10d::Store> store, int rank, int ranks)
    : store_(std::move(store)), rank_(rank), ranks_(ranks) {
  write_sign();
  thread_ = std::thread([this] { beat(); });
}

Pulse::~Pulse() {
  leave({}, false);
}

void Pulse::write_sign() {
  const std::lock_guard lock(store_mutex_);
  store_->set(sign_key(rank_), to_bytes(fmt::format("{} {}", ++beats_, steps_.load())));
}

void Pulse::beat() {
  std::unique_lock lock(mutex_);
  while (!wake_.wait_for(lock, kBeat, [this] { return stop_; })) {
    try {
      write_sign();
    } catch (const std::exception&) {
      return;  // the store is gone: whoever works on notices by other means
    }
  }
}

Pulse::Sign Pulse::read_sign(int rank) {
  Sign sign;
  std::istringstream(to_text(store_->get(sign_key(rank)))) >> sign.beats >> sign.steps;
  if (store_->check({farewell_key(rank)})) sign.farewell = to_text(store_->get(farewell_key(rank)));
  return sign;
}

std::vector<Pulse::Sign> Pulse::read_signs() {
  const std::lock_guard lock(store_mutex_);
  std::vector<Sign> signs;
  for (int rank = 0; rank < ranks_; ++rank) signs.push_back(read_sign(rank));
  return signs;
}

std::vector<std::string> Pulse::find_lost() {
  std::vector<std::string> lost;
  try {
    const std::vector<Sign> before = read_signs();
    std::this_thread::sleep_for(kSilence);
    const std::vector<Sign> after = read_signs();
    std::vector<std::string> behind;
    for (int rank = 0; rank < ranks_; ++rank) {
      const Sign& sign = after[static_cast<std::size_t>(rank)];
      if (rank == rank_) continue;
      if (sign.farewell) {
        // Whoever left because another one was lost is not to blame.
        if (!sign.farewell->empty()) lost.push_back(fmt::format("rank {} stopped: {}", rank, *sign.farewell));
      } else if (sign.beats == before[static_cast<std::size_t>(rank)].beats) {
        lost.push_back(fmt::format("rank {} is gone or hangs: it gives no sign of life", rank));
      } else if (sign.steps < steps_.load()) {
        behind.push_back(fmt::format("rank {} is alive but behind the others", rank));
      }
    }
    if (lost.empty()) lost = behind;
  } catch (const std::exception&) {
    lost = {"rank 0 is gone, or the way to it"};  // it keeps the store
  }
  return lost;
}

bool Pulse::others_have_left() {
  const std::lock_guard lock(store_mutex_);
  for (int rank = 0; rank < ranks_; ++rank) {
    if (rank != rank_ && !store_->check({farewell_key(rank)})) return false;
  }
  return true;
}

void Pulse::leave(const std::string& reason, bool keeps_store) {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  wake_.notify_all();
  thread_.join();
  try {
    {
      const std::lock_guard lock(store_mutex_);
      store_->set(farewell_key(rank_), to_bytes(reason));
    }
    const auto deadline = std::chrono::steady_clock::now() + kFarewell;
    while (keeps_store && !others_have_left() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(kLook);
    }
  } catch (const std::exception&) {
    // Without the store there is nobody to take leave of.
  }
}

}  // namespace spatialmamba::distributed
