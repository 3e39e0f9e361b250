#include "data/loader.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "data/pipeline.h"

namespace spatialmamba::data {
namespace {

void validate(const LoaderOptions& options, std::int64_t samples) {
  if (options.batch_size < 1) fail_usage("batch size {}: expected at least 1", options.batch_size);
  if (options.threads < 0) fail_usage("{} loader threads: expected 0 or more", options.threads);
  if (options.prefetch < 1) fail_usage("{} batches ahead: expected at least 1", options.prefetch);
  if (samples == 0) fail("the data set is empty");
  const std::int64_t batches = batch_count(samples, options);
  if (batches == 0)
    fail_usage("batch size {}: the data set has only {} samples", options.batch_size, samples);
  if (options.share.processes < 1 || options.share.replicas < 1 || options.share.run < 1) {
    fail_usage("a loader's share of batches must count from 1");
  }
  if (options.start_batch < 0 || options.start_batch > batches) {
    fail_usage("batch {} to begin with: the epoch has {}", options.start_batch, batches);
  }
}

/// Moves the samples that are there together, in their order.
void hand_over(BatchInProgress& from, const Dataset& dataset, const image::InputFormat& format, Batch& to) {
  const std::size_t values = format.values();
  to = Batch();
  to.number = from.number;
  to.h = format.height;
  to.w = format.width;
  to.c = format.channels;
  for (std::size_t k = 0; k < from.indices.size(); ++k) {
    if (!from.problems[k].empty()) {
      to.skipped.push_back(std::move(from.problems[k]));
      continue;
    }
    const auto at = static_cast<std::size_t>(to.n) * values;
    if (at != k * values) std::copy_n(from.images.data() + k * values, values, from.images.data() + at);
    to.indices.push_back(from.indices[k]);
    to.labels.push_back(dataset.labels[static_cast<std::size_t>(from.indices[k])]);
    ++to.n;
  }
  from.images.resize(static_cast<std::size_t>(to.n) * values);
  to.images = std::move(from.images);
}

}  // namespace

SampleTransform sample_transform(const TrainTransform& transform) {
  validate(transform);
  return {transform.format, [transform](const image::Image& picture, Random& random, std::span<float> out) {
            apply(transform, picture, random, out);
          }};
}

SampleTransform sample_transform(const image::EvalTransform& transform) {
  image::validate(transform.format);
  return {transform.format, [transform](const image::Image& picture, Random&, std::span<float> out) {
            image::normalize(image::eval_crop(picture, transform), transform.format, out);
          }};
}

std::vector<std::int64_t> stored_order(std::int64_t size) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(size));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  return order;
}

std::vector<std::int64_t> epoch_order(std::int64_t size, std::uint64_t seed, std::int64_t epoch) {
  constexpr std::uint64_t kOrderStream = 0x6F72646572ULL;  // keeps it apart from the samples' streams
  std::vector<std::int64_t> order = stored_order(size);
  Random random(Random::mix(seed ^ kOrderStream), static_cast<std::uint64_t>(epoch));
  random.shuffle(std::span<std::int64_t>(order));
  return order;
}

Random sample_random(std::uint64_t seed, std::int64_t epoch, std::int64_t index) {
  const Random of_epoch(seed, static_cast<std::uint64_t>(epoch));
  return {of_epoch.state()[0], static_cast<std::uint64_t>(index)};
}

std::int64_t batch_count(std::int64_t samples, const LoaderOptions& options) {
  const std::int64_t full = samples / options.batch_size;
  return options.drop_last || samples % options.batch_size == 0 ? full : full + 1;
}

Loader::Loader(Dataset dataset, SampleTransform transform, const LoaderOptions& options) {
  validate(options, dataset.size());
  pipeline_ = std::make_unique<Pipeline>(std::move(dataset), std::move(transform), options);
}

Loader::~Loader() = default;

bool Loader::next(Batch& batch) {
  pipeline_->recycle(std::move(batch.images));
  while (const std::shared_ptr<BatchInProgress> ready = pipeline_->next()) {
    hand_over(*ready, pipeline_->dataset(), pipeline_->transform().format, batch);
    batch.skipped.insert(batch.skipped.begin(), passed_over_.begin(), passed_over_.end());
    passed_over_.clear();
    if (batch.n > 0) {
      any_sample_ = true;
      return true;
    }
    passed_over_ = std::move(batch.skipped);
    pipeline_->recycle(std::move(batch.images));
  }
  if (!any_sample_ && !passed_over_.empty()) {
    fail("none of {} pictures could be read; the first: {}", passed_over_.size(), passed_over_.front());
  }
  return false;
}

std::int64_t Loader::batches() const {
  return pipeline_->batches();
}

}  // namespace spatialmamba::data
