// Decoding and augmenting photographs, in pictures per second and core (processor time, so that other work on
// the machine does not count):
//   bench_data_loader [--photographs=FOLDER] [--benchmark_filter=...]
// Without a folder of JPEGs the photographs are those of the golden data, enlarged to ImageNet's usual 500 x
// 375 and written as JPEG.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/file.h"
#include "data/augment.h"
#include "data/loader.h"
#include "data/rand_augment.h"
#include "image/codec.h"
#include "image/resize.h"
#include "image/transform.h"

namespace spatialmamba {
namespace {

using Files = std::vector<std::vector<std::byte>>;

/// Whatever the folder holds, as it is.
Files read_photographs(const std::filesystem::path& folder) {
  Files files;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    files.push_back(read_file(entry.path()));
  return files;
}

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

/// Set once, before the first benchmark.
Files& photographs() {
  static Files files;
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

/// What the paper's recipe does to a training image.
data::TrainTransform paper_transform() {
  data::TrainTransform transform;
  transform.rand_augment.layers = 2;
  transform.erasing.probability = 0.25;
  return transform;
}

/// Decoding and all of it.
void decode_and_augment(benchmark::State& state) {
  const data::TrainTransform transform = paper_transform();
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

void augment_only(benchmark::State& state) {
  const data::TrainTransform transform = paper_transform();
  std::vector<image::Image> pictures;
  for (const auto& file : photographs()) pictures.push_back(image::decode(file, "photograph"));
  std::vector<float> out(transform.format.values());
  std::int64_t index = 0;
  for (auto _ : state) {
    for (const image::Image& picture : pictures) {
      Random random = data::sample_random(1, 0, index++);
      data::apply(transform, picture, random, out);
      benchmark::DoNotOptimize(out.data());
    }
  }
  count_pictures(state, pictures.size());
}
BENCHMARK(augment_only);

/// Each operation of RandAugment alone, at the paper's magnitude, on 224 x 224.
void rand_augment(benchmark::State& state, const data::AugmentOperation& operation) {
  const image::Image input =
      image::resize(image::decode(photographs().front(), "photograph"), 224, 224, image::Filter::bicubic);
  const double argument = operation.argument == nullptr ? 0.0 : operation.argument(9.0, false);
  for (auto _ : state) {
    image::Image picture = input;
    operation.apply(picture, argument, data::Filling{});
    benchmark::DoNotOptimize(picture.pixels.data());
  }
  count_pictures(state, 1);
}

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
  for (auto _ : state) {
    data::Loader loader(dataset, data::sample_transform(paper_transform()), options);
    data::Batch batch;
    while (loader.next(batch)) benchmark::DoNotOptimize(batch.images.data());
    ++options.epoch;
  }
  count_pictures(state, kSamples);
}
BENCHMARK(load_batches)->Arg(1)->Arg(2)->MeasureProcessCPUTime()->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace spatialmamba

int main(int argc, char** argv) {
  using namespace spatialmamba;
  constexpr std::string_view kFolder = "--photographs=";
  const bool given = argc > 1 && std::string_view(argv[1]).starts_with(kFolder);
  photographs() = given ? read_photographs(argv[1] + kFolder.size()) : make_photographs();
  if (given) std::rotate(argv + 1, argv + 2, argv + argc--);
  for (const data::AugmentOperation& operation : data::augment_operations()) {
    benchmark::RegisterBenchmark(("rand_augment/" + std::string(operation.name)).c_str(), rand_augment,
                                 operation);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
