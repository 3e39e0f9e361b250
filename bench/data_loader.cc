// Decoding and augmenting photographs, in pictures per second and core (processor time, so that other work on
// the machine does not count):
//   bench_data_loader [--benchmark_filter=...]
// The photographs are those of the golden data, enlarged to ImageNet's usual 500 x 375 and written as JPEG.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <vector>

#include "data/augment.h"
#include "data/loader.h"
#include "image/codec.h"
#include "image/resize.h"
#include "image/transform.h"

namespace spatialmamba {
namespace {

using Files = std::vector<std::vector<std::byte>>;

/// JPEGs as cameras write them.
Files make_photographs() {
  const char* chosen = std::getenv("SPATIALMAMBA_GOLDEN");
  const std::filesystem::path golden = chosen != nullptr ? chosen : SPATIALMAMBA_GOLDEN_DEFAULT;
  Files files;
  for (const auto& entry : std::filesystem::directory_iterator(golden / "classification/data/images")) {
    if (!image::is_image_name(entry.path())) continue;
    const image::Image enlarged =
        image::resize(image::read_image(entry.path()), 500, 375, image::Filter::bicubic);
    files.push_back(image::encode_jpeg(enlarged, {.quality = 90, .halve_chroma = true}));
  }
  return files;
}

const Files& photographs() {
  static const Files files = make_photographs();
  return files;
}

void count_pictures(benchmark::State& state, std::size_t pictures) {
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(pictures));
}

void decode_only(benchmark::State& state) {
  for (auto _ : state) {
    for (const auto& file : photographs()) benchmark::DoNotOptimize(image::decode(file, "photograph"));
  }
  count_pictures(state, photographs().size());
}
BENCHMARK(decode_only);

/// Random resized crop to 224, flip, normalise.
void decode_and_augment(benchmark::State& state) {
  const data::TrainTransform transform;
  std::vector<float> out(transform.format.values());
  std::int64_t index = 0;
  for (auto _ : state) {
    for (const auto& file : photographs()) {
      Random random = data::sample_random(1, 0, index++);
      data::apply(transform, image::decode(file, "photograph"), random, out);
      benchmark::DoNotOptimize(out.data());
    }
  }
  count_pictures(state, photographs().size());
}
BENCHMARK(decode_and_augment);

void decode_and_evaluate(benchmark::State& state) {
  for (auto _ : state) {
    for (const auto& file : photographs()) {
      benchmark::DoNotOptimize(image::eval_input(image::decode(file, "photograph"), image::EvalTransform{}));
    }
  }
  count_pictures(state, photographs().size());
}
BENCHMARK(decode_and_evaluate);

/// The whole loader, with as many threads as the argument says; the rate is per core, not per loader.
void load_batches(benchmark::State& state) {
  constexpr std::int64_t kSamples = 512;
  data::Dataset dataset;
  dataset.classes = {"photograph"};
  dataset.labels.assign(kSamples, 0);
  dataset.load = [](std::int64_t i) {
    return image::decode(photographs()[static_cast<std::size_t>(i) % photographs().size()], "photograph");
  };
  dataset.name = [](std::int64_t) { return "photograph"; };
  data::LoaderOptions options;
  options.threads = static_cast<int>(state.range(0));
  options.shuffle = true;
  photographs();
  for (auto _ : state) {
    data::Loader loader(dataset, data::sample_transform(data::TrainTransform{}), options);
    data::Batch batch;
    while (loader.next(batch)) benchmark::DoNotOptimize(batch.images.data());
    ++options.epoch;
  }
  count_pictures(state, kSamples);
}
BENCHMARK(load_batches)->Arg(1)->Arg(2)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace spatialmamba

BENCHMARK_MAIN();
