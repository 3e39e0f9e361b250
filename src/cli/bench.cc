#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iostream>
#include <memory>
#include <optional>

#include "base/error.h"
#include "cli/bench_input.h"
#include "cli/bench_table.h"
#include "cli/bench_training.h"
#include "cli/measure.h"
#include "cli/network.h"
#include "cli/verbs.h"
#include "cli/whole_answer.h"
#include "model/initialise.h"
#include "spatialmamba/detector.h"
#include "spatialmamba/engine.h"
#include "spatialmamba/segmentor.h"

namespace spatialmamba::cli {
namespace {

struct Options {
  NetworkOptions network;
  std::string task = "classification";
  std::string device = "cpu";
  std::string shape;
  std::vector<std::int64_t> batches;
  std::vector<int> thread_counts;
  std::filesystem::path input;
  std::filesystem::path answer;
  double seconds = 3.0;
  int runs = 10;
  bool layers = false;
  bool check = false;
  bool end_to_end = false;
  bool interactive = false;
  bool train = false;
  bool json = false;
};

/// A model, and how long it took to have it.
struct Loaded {
  Model model;
  double import_seconds;
  double load_seconds;
};

BenchInput make_input(const Options& options, const Architecture& architecture) {
  if (!options.input.empty()) return read_input(options.input, architecture.in_channels);
  const std::string shape =
      options.shape.empty() ? fmt::format("1x{}x224x224", architecture.in_channels) : options.shape;
  return random_input(parse_shape(shape, architecture.in_channels), options.network.seed);
}

TensorMap untrained_weights(const NetworkOptions& options, Task task) {
  if (task == Task::segmentation)
    return initial_weights(tensor_specs(segmentor_of(options.variant)), options.seed);
  if (task == Task::detection)
    return initial_weights(tensor_specs(detector_of(options.variant)), options.seed);
  return initial_weights(architecture_of(options.variant), options.seed);
}

Loaded load(const NetworkOptions& options, Task task) {
  const ModelOptions how{
      .precision = options.precision == Precision::bf16 ? EnginePrecision::bf16 : EnginePrecision::fp32,
      .threads = options.threads,
      .key = options.ema ? "model_ema" : ""};
  const double import_seconds = process_age();
  const double start = now();
  if (options.weights.empty()) {
    Model model = Model::build({untrained_weights(options, task), {}}, how, options.variant);
    return {std::move(model), import_seconds, now() - start};
  }
  Model model = Model::load(options.weights, how);
  if (!options.variant.empty() && options.variant != model.architecture().variant) {
    fail("{}: holds a model {}, not {}", options.weights.string(), model.architecture().variant,
         options.variant);
  }
  return {std::move(model), import_seconds, now() - start};
}

/// max|a-b| / max|b|.
double relative_deviation(std::span<const float> actual, std::span<const float> expected) {
  if (actual.size() != expected.size()) return INFINITY;
  double difference = 0.0;
  double largest = 0.0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    difference =
        std::max(difference, std::abs(static_cast<double>(actual[i]) - static_cast<double>(expected[i])));
    largest = std::max(largest, std::abs(static_cast<double>(expected[i])));
  }
  return difference / largest;
}

void print_line(const nlohmann::ordered_json& json) {
  fmt::print("{}\n", json.dump());
  std::fflush(stdout);
}

/// What is measured: the network, or all that somebody waits for.
void run_once(const Options& options, Session& session, const ImageBatch& images) {
  if (options.end_to_end) {
    whole_answer(session, images);
  } else {
    run_model(session, images);
  }
}

/// The first run of a conversation; returns its deviation from the logits of the input file, if it has any.
std::optional<double> run_first(const Options& options, Session& session, const BenchInput& input) {
  if (options.end_to_end) {
    const TensorMap answer = whole_answer(session, input.batch());
    if (!options.answer.empty()) write_safetensors(options.answer, {answer, {}});
    return {};
  }
  const auto values = run_model(session, input.batch());
  if (input.expected.empty()) return {};
  return relative_deviation(values, input.expected);
}

/// Speaks with a harness that lets candidates take turns: one JSON value a line.
void converse(const Options& options) {
  const Loaded loaded = load(options.network, task_from_name(options.task));
  Session session(loaded.model, {.threads = options.network.threads});
  const BenchInput input = make_input(options, loaded.model.architecture());
  const double start = now();
  const std::optional<double> deviation = run_first(options, session, input);
  const double first = now() - start;
  nlohmann::ordered_json ready{{"import_s", loaded.import_seconds},
                               {"load_s", loaded.load_seconds},
                               {"first_s", first},
                               {"total_s", process_age()},
                               {"rel_err", nullptr}};
  if (deviation) ready["rel_err"] = *deviation;
  print_line(ready);
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "end") break;
    int count = 0;
    const std::string number = line.starts_with("run ") ? line.substr(4) : "";
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), count);
    if (error != std::errc() || end != number.data() + number.size() || count < 1) {
      fail("standard input: expected 'run N' or 'end', found '{}'", line.substr(0, 80));
    }
    auto seconds = nlohmann::ordered_json::array();
    for (int i = 0; i < count; ++i) {
      const double begin = now();
      run_once(options, session, input.batch());
      seconds.push_back(now() - begin);
    }
    print_line(seconds);
  }
  print_line({{"peak_rss_mb", peak_rss_mb()}});
}

/// The fastest of a few passes, step by step: each is short enough to be disturbed.
std::vector<StepTime> fastest_steps(Session& session, const ImageBatch& images) {
  constexpr int kPasses = 20;
  session.profile(images);
  std::vector<StepTime> best = session.profile(images);
  for (int i = 0; i < kPasses; ++i) {
    const std::vector<StepTime> again = session.profile(images);
    for (std::size_t k = 0; k < best.size(); ++k) {
      best[k].seconds = std::min(best[k].seconds, again[k].seconds);
    }
  }
  return best;
}

/// The largest difference from LibTorch's logits on the same input.
double difference_from_torch(const Options& options, const BenchInput& input, std::span<const float> logits) {
  NetworkOptions how = options.network;
  how.backend = Backend::torch;
  how.precision = Precision::fp32;
  const Tensor images = Tensor::from(input.shape, input.pixels);
  return relative_deviation(logits, Network::open(how).stages(images, false).at("logits").values<float>());
}

nlohmann::ordered_json run(const Options& options) {
  const Loaded loaded = load(options.network, task_from_name(options.task));
  const Architecture& architecture = loaded.model.architecture();
  const BenchInput input = make_input(options, architecture);
  nlohmann::ordered_json result{
      {"variant", architecture.variant},
      {"shape", input.shape},
      {"precision", loaded.model.precision() == EnginePrecision::bf16 ? "bf16" : "fp32"},
      {"isa", loaded.model.isa()},
      {"load_ms", 1e3 * loaded.load_seconds},
      {"weight_mb", 1e-6 * static_cast<double>(loaded.model.weight_bytes())},
      {"latency", nlohmann::ordered_json::array()}};
  for (const int threads : options.thread_counts) {
    Session session(loaded.model, {.threads = threads});
    for (const std::int64_t batch : options.batches) {
      Shape shape = input.shape;
      if (batch > 0) shape[0] = batch;
      const BenchInput sized = shape == input.shape ? input : random_input(shape, options.network.seed);
      const Latency latency =
          measure_latency([&] { run_once(options, session, sized.batch()); }, options.seconds, options.runs);
      result["latency"].push_back(latency.as_json(shape[0], session.threads()));
    }
  }
  Session session(loaded.model, {.threads = options.thread_counts.back()});
  if (options.check) {
    const auto logits = run_model(session, input.batch());
    result["difference_from_torch"] = difference_from_torch(options, input, logits);
  }
  result["peak_rss_mb"] = peak_rss_mb();
  if (options.layers) {
    const MachinePeaks peaks = measure_peaks(loaded.model, session.threads());
    result["gemm_peak_gflops"] = 1e-9 * peaks.gemm_flops;
    result["copy_peak_gbytes_per_second"] = 1e-9 * peaks.copy_bytes;
    const std::vector<StepTime> steps = fastest_steps(session, input.batch());
    result["layers"] = layers_json(steps, peaks);
    result["kernels"] = kernels_json(steps, peaks);
  }
  return result;
}

void bench_steps(const Options& options) {
  if (options.network.variant.empty() || task_from_name(options.task) != Task::classification) {
    fail_usage("--train measures a classifier with random weights: --variant NAME is needed");
  }
  const Architecture architecture = architecture_of(options.network.variant);
  const std::string shape =
      options.shape.empty() ? fmt::format("8x{}x224x224", architecture.in_channels) : options.shape;
  const nlohmann::ordered_json result =
      bench_training(architecture, {.shape = parse_shape(shape, architecture.in_channels),
                                    .batches = options.batches,
                                    .thread_counts = options.thread_counts,
                                    .precision = options.network.precision,
                                    .device = options.device,
                                    .seed = options.network.seed,
                                    .seconds = options.seconds,
                                    .runs = options.runs});
  options.json ? print_json(result) : print_training(result);
}

void bench(Options options) {
  if (options.network.weights.empty() && options.network.variant.empty()) {
    fail_usage("--weights FILE or --variant NAME is needed");
  }
  const Precision precision = options.network.precision;
  if (!engine_computes_in(precision) && !(options.train && precision == Precision::fp16)) {
    fail_usage("--precision {}: the engine computes in fp32 or bf16, --train in fp16 too",
               name_of(precision));
  }
  if (!options.answer.empty() && !(options.end_to_end && options.interactive)) {
    fail_usage("--answer is written with --end-to-end --interactive only");
  }
  options.network.untrained = options.network.weights.empty();
  if (options.interactive) return converse(options);
  if (options.thread_counts.empty()) options.thread_counts.push_back(options.network.threads);
  if (options.batches.empty()) options.batches.push_back(0);  // that of the input
  if (options.train) return bench_steps(options);
  const nlohmann::ordered_json result = run(options);
  if (options.json) {
    print_json(result);
  } else {
    print_inference(result);
  }
}

}  // namespace

Run add_bench(CLI::App& app) {
  auto options = std::make_shared<Options>();
  add_weights(app, options->network.weights);
  add_ema(app, options->network.ema);
  app.add_option("--variant", options->network.variant, "A built-in model with random weights")
      ->type_name("NAME");
  add_seed(app, options->network.seed);
  add_precision(app, options->network.precision);
  add_threads(app, options->network.threads);
  app.add_option("--task", options->task,
                 "Of the built-in model: classification (default), segmentation or detection")
      ->type_name("TASK");
  app.add_option("--shape", options->shape, "Input as BATCHx3xHEIGHTxWIDTH (default: 1x3x224x224)")
      ->type_name("SHAPE");
  app.add_option("-i,--input", options->input,
                 "A .safetensors file with the tensor `input`, and `logits` to compare with")
      ->type_name("FILE");
  app.add_option("--batches", options->batches, "Sweep over batch sizes")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->type_name("N,N,...");
  app.add_option("--thread-counts", options->thread_counts, "Sweep over numbers of threads")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->type_name("N,N,...");
  app.add_option("--seconds", options->seconds, "Measure for so long (default: 3)")
      ->check(CLI::NonNegativeNumber)
      ->type_name("S");
  app.add_option("--runs", options->runs, "Measure at least so often (default: 10)")
      ->check(CLI::PositiveNumber)
      ->type_name("N");
  app.add_flag("--layers", options->layers,
               "Also the time of every layer and kernel, against the machine's peaks");
  app.add_flag("--check", options->check, "Also the difference from LibTorch on the same input");
  app.add_flag("--end-to-end", options->end_to_end,
               "Measure up to label maps, or boxes and masks in pixels, not only the network");
  app.add_option("--answer", options->answer,
                 "With --end-to-end --interactive: where the first run's answer is written (.safetensors)")
      ->type_name("FILE");
  app.add_flag("--interactive", options->interactive,
               "Take turns with others: `run N` and `end` on standard input, JSON lines on standard output");
  CLI::Option* train =
      app.add_flag("--train", options->train,
                   "Measure training steps of the built-in model instead (default: 8x3x224x224)");
  for (const char* inference :
       {"--weights", "--input", "--layers", "--check", "--end-to-end", "--interactive"}) {
    train->excludes(inference);
  }
  app.add_option("--device", options->device, "With --train, what computes: cpu (default) or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}))
      ->needs(train)
      ->type_name("DEVICE");
  add_json(app, options->json);
  return [options] { bench(*options); };
}

}  // namespace spatialmamba::cli
