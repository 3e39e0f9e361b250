#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "data/loader.h"

namespace spatialmamba::data {

/// A batch in the making: its samples are filled in any order, by any thread.
struct BatchInProgress {
  std::int64_t number = 0;
  std::vector<std::int64_t> indices;
  std::vector<float> images;
  /// Why sample k is missing; empty where it is there.
  std::vector<std::string> problems;
  std::int64_t taken = 0;  ///< samples given to a thread
  std::int64_t finished = 0;
  std::once_flag allocated;

  std::int64_t size() const { return static_cast<std::int64_t>(indices.size()); }
};

/// The threads of a Loader: they fill the batches of one epoch sample by sample, at most `prefetch` batches
/// ahead.
class Loader::Pipeline {
 public:
  Pipeline(Dataset dataset, SampleTransform transform, const LoaderOptions& options);
  ~Pipeline();
  Pipeline(const Pipeline&) = delete;
  Pipeline& operator=(const Pipeline&) = delete;

  /// Waits for the next batch in order; nullptr when the epoch is over. Throws what a thread threw.
  std::shared_ptr<BatchInProgress> next();

  /// Takes back storage for a batch to come.
  void recycle(std::vector<float> storage);

  const Dataset& dataset() const { return dataset_; }
  const SampleTransform& transform() const { return transform_; }
  std::int64_t batches() const { return batches_; }

 private:
  struct Task {
    std::shared_ptr<BatchInProgress> batch;
    std::int64_t sample = 0;
  };

  std::optional<Task> take_task();
  void run(const Task& task);
  void allocate(BatchInProgress& batch);
  void fill(BatchInProgress& batch, std::int64_t sample);
  void work();
  void open_batches();

  const Dataset dataset_;
  const SampleTransform transform_;
  const LoaderOptions options_;
  const std::int64_t batches_;
  const std::vector<std::int64_t> order_;

  std::mutex mutex_;
  std::condition_variable work_to_do_;
  std::condition_variable batch_done_;
  std::deque<std::shared_ptr<BatchInProgress>> open_;  ///< in order; the front is what next() waits for
  std::int64_t next_to_open_;
  std::vector<std::vector<float>> spare_;
  std::exception_ptr failure_;
  bool stop_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace spatialmamba::data
