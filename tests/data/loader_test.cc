#include "data/loader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "base/error.h"

namespace spatialmamba::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

/// Pictures of 6 x 5 filled with their index; those in `broken` cannot be read.
Dataset numbered(std::int64_t size, std::set<std::int64_t> broken = {}) {
  Dataset dataset;
  dataset.classes = {"even", "odd"};
  for (std::int64_t i = 0; i < size; ++i) dataset.labels.push_back(i % 2);
  dataset.name = [](std::int64_t i) { return std::to_string(i); };
  dataset.load = [broken = std::move(broken)](std::int64_t i) {
    if (broken.contains(i)) fail("{}.jpg: broken", i);
    image::Image picture(6, 5, 1);
    for (std::size_t k = 0; k < picture.pixels.size(); ++k)
      picture.pixels[k] = static_cast<std::uint8_t>(i + (k == 7 ? 100 : 0));
    return picture;
  };
  return dataset;
}

TrainTransform augmentation() {
  TrainTransform transform;
  transform.format = {.height = 5, .width = 6, .channels = 1, .mean = {0, 0, 0}, .std = {1, 1, 1}};
  transform.erasing.probability = 0.5;
  return transform;
}

SampleTransform untouched() {
  image::EvalTransform transform;
  transform.format = {.height = 5, .width = 6, .channels = 1, .mean = {0, 0, 0}, .std = {1, 1, 1}};
  transform.crop = 1.0;
  return sample_transform(transform);
}

std::vector<Batch> all_batches(const Dataset& dataset, const SampleTransform& transform,
                               const LoaderOptions& options) {
  Loader loader(dataset, transform, options);
  std::vector<Batch> batches;
  for (Batch batch; loader.next(batch); batch = Batch()) batches.push_back(std::move(batch));
  return batches;
}

TEST(Loader, EvaluationKeepsTheOrder) {
  for (const int threads : {0, 1, 3}) {
    LoaderOptions options;
    options.batch_size = 4;
    options.threads = threads;
    const std::vector<Batch> batches = all_batches(numbered(10), untouched(), options);
    ASSERT_EQ(batches.size(), 3U);
    EXPECT_THAT(batches[1].indices, ElementsAre(4, 5, 6, 7));
    EXPECT_THAT(batches[1].labels, ElementsAre(0, 1, 0, 1));
    EXPECT_THAT(batches[2].indices, ElementsAre(8, 9));
    EXPECT_EQ(batches[2].number, 2);
    EXPECT_EQ(batches[2].n, 2);
    EXPECT_EQ(batches[2].h, 5);
    EXPECT_EQ(batches[2].w, 6);
    EXPECT_EQ(batches[2].c, 1);
    ASSERT_EQ(batches[2].images.size(), 2U * 30U);
    EXPECT_EQ(batches[2].images[0], 8.0F / 255.0F);
    EXPECT_EQ(batches[2].images[30 + 7], 109.0F / 255.0F);
  }
}

TEST(Loader, ThreadsAndPrefetchingChangeNothing) {
  LoaderOptions options;
  options.batch_size = 5;
  options.shuffle = true;
  options.seed = 3;
  options.epoch = 2;
  options.threads = 0;
  const auto transform = sample_transform(augmentation());
  const std::vector<Batch> serial = all_batches(numbered(43), transform, options);
  for (const int threads : {1, 2, 5}) {
    for (const int prefetch : {1, 4}) {
      options.threads = threads;
      options.prefetch = prefetch;
      const std::vector<Batch> parallel = all_batches(numbered(43), transform, options);
      ASSERT_EQ(parallel.size(), serial.size());
      for (std::size_t i = 0; i < serial.size(); ++i) {
        EXPECT_EQ(parallel[i].indices, serial[i].indices);
        EXPECT_EQ(parallel[i].images, serial[i].images);
      }
    }
  }
}

TEST(Loader, EachSampleHasARandomStreamOfItsOwn) {
  LoaderOptions options;
  options.batch_size = 4;
  options.seed = 5;
  options.epoch = 3;
  const Dataset dataset = numbered(9);
  const auto transform = sample_transform(augmentation());
  const std::size_t values = transform.format.values();
  for (const Batch& batch : all_batches(dataset, transform, options)) {
    for (std::size_t k = 0; k < batch.indices.size(); ++k) {
      Random random = sample_random(options.seed, options.epoch, batch.indices[k]);
      std::vector<float> expected(values);
      transform.apply(dataset.load(batch.indices[k]), random, expected);
      EXPECT_TRUE(std::ranges::equal(expected, std::span(batch.images).subspan(k * values, values)));
    }
  }
}

TEST(Loader, ResumesInMidEpochBitForBit) {
  LoaderOptions options;
  options.batch_size = 4;
  options.shuffle = true;
  options.epoch = 7;
  const auto transform = sample_transform(augmentation());
  const std::vector<Batch> whole = all_batches(numbered(30), transform, options);
  options.start_batch = 3;
  const std::vector<Batch> rest = all_batches(numbered(30), transform, options);
  ASSERT_EQ(rest.size() + 3, whole.size());
  for (std::size_t i = 0; i < rest.size(); ++i) {
    EXPECT_EQ(rest[i].number, whole[i + 3].number);
    EXPECT_EQ(rest[i].indices, whole[i + 3].indices);
    EXPECT_EQ(rest[i].images, whole[i + 3].images);
  }
  options.start_batch = 8;
  EXPECT_TRUE(all_batches(numbered(30), transform, options).empty());
}

TEST(Loader, EpochsAreDifferentPermutations) {
  const auto first = epoch_order(100, 1, 0);
  EXPECT_EQ(first, epoch_order(100, 1, 0));
  EXPECT_NE(first, epoch_order(100, 1, 1));
  EXPECT_NE(first, epoch_order(100, 2, 0));
  auto sorted = first;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, stored_order(100));
  std::set<std::uint64_t> streams;
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    for (std::int64_t epoch = 0; epoch < 8; ++epoch) {
      for (std::int64_t index = 0; index < 8; ++index)
        streams.insert(sample_random(seed, epoch, index).bits());
    }
  }
  EXPECT_EQ(streams.size(), 512U) << "two samples share their randomness";
}

TEST(Loader, DropLastLeavesOutWhatIsNotFull) {
  LoaderOptions options;
  options.batch_size = 4;
  options.drop_last = true;
  EXPECT_EQ(all_batches(numbered(10), untouched(), options).size(), 2U);
  EXPECT_EQ(batch_count(8, options), 2);
  options.drop_last = false;
  EXPECT_EQ(batch_count(8, options), 2);
  EXPECT_EQ(batch_count(9, options), 3);
}

TEST(Loader, BrokenFilesAreLeftOutAndCounted) {
  LoaderOptions options;
  options.batch_size = 4;
  const std::vector<Batch> batches = all_batches(numbered(12, {0, 2, 4, 5, 6, 7}), untouched(), options);
  ASSERT_EQ(batches.size(), 2U);
  EXPECT_THAT(batches[0].indices, ElementsAre(1, 3));
  EXPECT_THAT(batches[0].labels, ElementsAre(1, 1));
  EXPECT_THAT(batches[0].skipped, ElementsAre("0.jpg: broken", "2.jpg: broken"));
  EXPECT_EQ(batches[0].images.size(), 60U);
  EXPECT_EQ(batches[0].images[0], 1.0F / 255.0F);
  EXPECT_EQ(batches[0].images[30], 3.0F / 255.0F);
  EXPECT_EQ(batches[1].number, 2);
  EXPECT_EQ(batches[1].n, 4);
  EXPECT_EQ(batches[1].skipped.size(), 4U) << "those of the batch passed over";
}

TEST(Loader, StrictStopsAndNamesTheFile) {
  for (const int threads : {0, 2}) {
    LoaderOptions options;
    options.batch_size = 4;
    options.threads = threads;
    options.strict = true;
    EXPECT_THAT([&] { all_batches(numbered(50, {9}), untouched(), options); },
                ThrowsMessage<Error>(HasSubstr("9.jpg: broken")));
  }
}

TEST(Loader, NothingButBrokenFilesIsAnError) {
  LoaderOptions options;
  options.batch_size = 2;
  EXPECT_THAT(
      [&] {
        all_batches(numbered(3, {0, 1, 2}), untouched(), options);
      },
      ThrowsMessage<Error>(HasSubstr("none of 3 pictures could be read; the first: 0.jpg: broken")));
}

TEST(Loader, OtherExceptionsCrossTheThreads) {
  Dataset dataset = numbered(20);
  dataset.load = [](std::int64_t i) -> image::Image {
    if (i == 11) throw std::bad_alloc();
    return {6, 5, 1};
  };
  LoaderOptions options;
  options.batch_size = 4;
  EXPECT_THROW(all_batches(dataset, untouched(), options), std::bad_alloc);
}

TEST(Loader, EndsEarlyWithoutWaitingForTheEpoch) {
  std::atomic<int> loaded = 0;
  Dataset dataset = numbered(100'000);
  dataset.load = [&loaded](std::int64_t) {
    ++loaded;
    return image::Image(6, 5, 1);
  };
  LoaderOptions options;
  options.batch_size = 8;
  options.threads = 3;
  {
    Loader loader(dataset, untouched(), options);
    Batch batch;
    ASSERT_TRUE(loader.next(batch));
  }
  EXPECT_LE(loaded, 8 * (1 + options.prefetch));
}

TEST(Loader, ReusesTheStorageOfABatch) {
  LoaderOptions options;
  options.batch_size = 4;
  options.prefetch = 1;
  options.threads = 1;
  Loader loader(numbered(400), untouched(), options);
  std::set<const float*> storages;
  for (Batch batch; loader.next(batch);) storages.insert(batch.images.data());
  EXPECT_LE(storages.size(), 2U);  // the batch that is made, and the caller's
}

TEST(Loader, RefusesWhatCannotBe) {
  const auto refuses = [](auto change) {
    LoaderOptions options;
    change(options);
    EXPECT_THROW(Loader(numbered(3), untouched(), options), UsageError);
  };
  refuses([](LoaderOptions& o) { o.batch_size = 0; });
  refuses([](LoaderOptions& o) { o.threads = -1; });
  refuses([](LoaderOptions& o) { o.prefetch = 0; });
  refuses([](LoaderOptions& o) { o.start_batch = 2; });
  refuses([](LoaderOptions& o) { o.drop_last = true; });
  EXPECT_THROW(Loader(numbered(0), untouched(), {}), Error);
}

}  // namespace
}  // namespace spatialmamba::data
