#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/random.h"
#include "data/augment.h"
#include "data/dataset.h"
#include "image/transform.h"

namespace spatialmamba::data {

/// From a picture to what the network is fed.
struct SampleTransform {
  image::InputFormat format;
  /// Writes format.values() floats in HWC. Called from several threads at once.
  std::function<void(const image::Image&, Random&, std::span<float>)> apply;
};

SampleTransform sample_transform(const TrainTransform& transform);
SampleTransform sample_transform(const image::EvalTransform& transform);

/// The samples 0 … size-1 as they are stored.
std::vector<std::int64_t> stored_order(std::int64_t size);

/// The samples 0 … size-1 in an order that depends on (seed, epoch) alone.
std::vector<std::int64_t> epoch_order(std::int64_t size, std::uint64_t seed, std::int64_t epoch);

/// The stream of one sample's augmentation: it depends on these three alone, so neither the number of threads
/// nor a resumed run changes what is drawn.
Random sample_random(std::uint64_t seed, std::int64_t epoch, std::int64_t index);

/// Which batches of an epoch one of several processes loads. Batches come in groups of `replicas` times
/// `run`; in each group replica r has the r-th run of batches, and process p the replicas r with r modulo
/// `processes` = p.
struct LoaderShare {
  std::int64_t process = 0;
  std::int64_t processes = 1;
  std::int64_t replicas = 1;
  std::int64_t run = 1;

  bool has(std::int64_t batch) const { return batch / run % replicas % processes == process; }
};

struct LoaderOptions {
  std::int64_t batch_size = 32;
  std::uint64_t seed = 0;
  std::int64_t epoch = 0;
  /// Permute the samples (training); otherwise they come in their stored order (evaluation).
  bool shuffle = false;
  /// Leave out a last batch that is not full.
  bool drop_last = false;
  /// The batch of this epoch to begin with: resumes in mid-epoch.
  std::int64_t start_batch = 0;
  /// 0 loads inside next(), on the caller's thread.
  int threads = 2;
  /// Batches that may be ready or under way ahead of the caller, at least 1.
  int prefetch = 3;
  /// Stop at the first broken file instead of leaving it out.
  bool strict = false;
  /// The batches of this process; their numbers are those of the whole epoch.
  LoaderShare share = {};
};

/// Batches in an epoch.
std::int64_t batch_count(std::int64_t samples, const LoaderOptions& options);

struct Batch {
  /// Which batch of the epoch this is, from 0.
  std::int64_t number = 0;
  /// n x h x w x c.
  std::vector<float> images;
  std::vector<std::int64_t> labels;
  /// Which samples of the data set these are.
  std::vector<std::int64_t> indices;
  std::int64_t n = 0;
  std::int64_t h = 0;
  std::int64_t w = 0;
  std::int64_t c = 0;
  /// One sentence for each broken file that was left out; n is smaller by as many.
  std::vector<std::string> skipped;
};

/// Loads and transforms the batches of one epoch ahead of time on threads of its own. Broken files are left
/// out; a batch of nothing but broken files is passed over and its `skipped` handed on with the next one.
class Loader {
 public:
  /// Throws UsageError for options that mean nothing, Error for an empty data set.
  Loader(Dataset dataset, SampleTransform transform, const LoaderOptions& options);
  /// Stops the threads after the sample each is at.
  ~Loader();
  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The next batch, in order; false when the epoch is over. The storage that `batch` brings is used again.
  /// Throws what a thread threw, and Error when every sample of the epoch was broken.
  bool next(Batch& batch);

  /// Batches in the whole epoch, whatever it started with.
  std::int64_t batches() const;

 private:
  class Pipeline;
  std::unique_ptr<Pipeline> pipeline_;
  std::vector<std::string> passed_over_;
  bool any_sample_ = false;
};

}  // namespace spatialmamba::data
