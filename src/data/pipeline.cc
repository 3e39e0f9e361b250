#include "data/pipeline.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"

namespace spatialmamba::data {

namespace {

std::vector<std::int64_t> choose_order(const Dataset& dataset, const LoaderOptions& options) {
  if (!options.shuffle) return stored_order(dataset.size());
  if (dataset.order) return dataset.order(options.seed, options.epoch);
  return epoch_order(dataset.size(), options.seed, options.epoch);
}

}  // namespace

Loader::Pipeline::Pipeline(Dataset dataset, SampleTransform transform, const LoaderOptions& options)
    : dataset_(std::move(dataset)),
      transform_(std::move(transform)),
      options_(options),
      batches_(batch_count(dataset_.size(), options)),
      order_(choose_order(dataset_, options)),
      next_to_open_(options.start_batch) {
  open_batches();
  for (int i = 0; i < options.threads; ++i) threads_.emplace_back([this] { work(); });
}

Loader::Pipeline::~Pipeline() {
  {
    const std::lock_guard lock(mutex_);
    stop_ = true;
  }
  work_to_do_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

/// Opens batches until `prefetch` are open. The mutex is held, or there are no threads yet.
void Loader::Pipeline::open_batches() {
  while (static_cast<int>(open_.size()) < options_.prefetch && next_to_open_ < batches_) {
    const std::int64_t number = next_to_open_++;
    if (!options_.share.has(number)) continue;
    auto batch = std::make_shared<BatchInProgress>();
    batch->number = number;
    const std::int64_t first = batch->number * options_.batch_size;
    const std::int64_t last = std::min(first + options_.batch_size, dataset_.size());
    batch->indices.assign(order_.begin() + first, order_.begin() + last);
    batch->problems.resize(batch->indices.size());
    open_.push_back(std::move(batch));
  }
}

/// The mutex is held.
std::optional<Loader::Pipeline::Task> Loader::Pipeline::take_task() {
  for (const std::shared_ptr<BatchInProgress>& batch : open_) {
    if (batch->taken < batch->size()) return Task{batch, batch->taken++};
  }
  return std::nullopt;
}

void Loader::Pipeline::work() {
  std::unique_lock lock(mutex_);
  while (!stop_ && !failure_) {
    const std::optional<Task> task = take_task();
    if (!task) {
      work_to_do_.wait(lock);
      continue;
    }
    lock.unlock();
    run(*task);
    lock.lock();
  }
}

/// The mutex is not held.
void Loader::Pipeline::run(const Task& task) {
  std::exception_ptr failure;
  try {
    std::call_once(task.batch->allocated, [&] { allocate(*task.batch); });
    fill(*task.batch, task.sample);
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  if (failure && !failure_) failure_ = failure;
  if (++task.batch->finished == task.batch->size() || failure) batch_done_.notify_all();
}

void Loader::Pipeline::allocate(BatchInProgress& batch) {
  {
    const std::lock_guard lock(mutex_);
    if (!spare_.empty()) {
      batch.images = std::move(spare_.back());
      spare_.pop_back();
    }
  }
  batch.images.resize(batch.indices.size() * transform_.format.values());
}

void Loader::Pipeline::fill(BatchInProgress& batch, std::int64_t sample) {
  const auto k = static_cast<std::size_t>(sample);
  const std::int64_t index = batch.indices[k];
  image::Image picture;
  try {
    picture = dataset_.load(index);
  } catch (const Error& error) {
    if (options_.strict) throw;
    batch.problems[k] = error.what();
    return;
  }
  Random random = sample_random(options_.seed, options_.epoch, index);
  const std::size_t values = transform_.format.values();
  transform_.apply(picture, random, std::span(batch.images).subspan(k * values, values));
}

std::shared_ptr<BatchInProgress> Loader::Pipeline::next() {
  std::unique_lock lock(mutex_);
  if (open_.empty()) return nullptr;
  const std::shared_ptr<BatchInProgress> batch = open_.front();
  while (!failure_ && batch->finished < batch->size()) {
    if (!threads_.empty()) {
      batch_done_.wait(lock);
      continue;
    }
    const std::optional<Task> task = take_task();
    lock.unlock();
    run(*task);
    lock.lock();
  }
  if (failure_) std::rethrow_exception(failure_);
  open_.pop_front();
  open_batches();
  work_to_do_.notify_all();
  return batch;
}

void Loader::Pipeline::recycle(std::vector<float> storage) {
  if (storage.capacity() == 0) return;
  const std::lock_guard lock(mutex_);
  // As many as there can be at once: those of the open batches and the caller's.
  if (static_cast<int>(spare_.size()) <= options_.prefetch) spare_.push_back(std::move(storage));
}

}  // namespace spatialmamba::data
