#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "train/run_folder.h"
#include "train/trainer.h"
#include "train/updater.h"

namespace spatialmamba::train {

/// How a run goes about its work, whatever it trains.

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }
  /// The seconds until now; starts again.
  double lap() {
    const double passed = seconds();
    start_ = Clock::now();
    return passed;
  }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

/// How fast a run goes and what it takes.
struct Throughput {
  double images_per_second = 0.0;
  double data_wait = 0.0;                    ///< share of the time spent waiting for images
  double peak_memory = 0.0;                  ///< of the process so far, in MiB
  std::optional<double> device_memory = {};  ///< the same of its GPU's, where it has one
};

/// Of this process so far, in MiB.
double peak_memory();

/// Of so many images in so many seconds, of which `wait_seconds` were spent waiting for them.
Throughput throughput_of(std::int64_t images, double seconds, double wait_seconds);

/// Streams of random numbers that depend on the seed and the micro-batch alone.
enum class Stream : std::uint64_t { mixture = 1, drop_path = 2, boxes = 3 };

inline Random stream_of(std::uint64_t seed, Stream stream, std::int64_t micro_batch) {
  return {Random::mix(seed + static_cast<std::uint64_t>(stream)), static_cast<std::uint64_t>(micro_batch)};
}

/// Refuses or accepts the output folder; what it holds stays. True when there is a state to resume from.
bool accept_folder(const RunFolder& folder, const RunOptions& options);

/// Makes the folder that of this run: what a run that is not continued has left there goes. To be called by
/// all processes, as soon as none of them can refuse the run any more.
void take_folder(const RunFolder& folder, const RunOptions& options, bool resumes);

/// What a run was started with; a resumed one must agree.
struct RunIdentity {
  std::string recipe;                ///< YAML
  std::vector<std::string> classes;  ///< in their order
  std::int64_t train_images = 0;
};

/// Throws unless the run in `file` is this one.
void require_same_run(const std::filesystem::path& file, const RunIdentity& saved, const RunIdentity& now);

/// Tells the user of broken files: of each once, of the first few by name.
class SkippedFiles {
 public:
  void report(const std::vector<std::string>& skipped, const std::function<void(const std::string&)>& say);
  /// So many different ones so far.
  std::int64_t count() const { return std::ssize(seen_); }

 private:
  std::set<std::string> seen_;
};

/// Updates that were not made since they could not be used.
struct SkippedUpdates {
  std::int64_t total = 0;
  std::int64_t in_a_row = 0;
  std::int64_t overflowed = 0;  ///< for the loss scale; in neither of the above
};

/// Counts update `number` as skipped and says so; throws Error when it is the `limit`th in a row, but for
/// those that overflowed. `bad_layer` then finds the first layer whose output is not finite (empty: all are).
void count_skipped(SkippedUpdates& skipped, std::int64_t number, const Update& update, std::int64_t limit,
                   const std::function<void(const std::string&)>& say,
                   const std::function<std::string()>& bad_layer);

}  // namespace spatialmamba::train
