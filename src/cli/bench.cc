#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "base/error.h"
#include "base/random.h"
#include "cli/bench_training.h"
#include "cli/inputs.h"
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

/// A batch in memory, NCHW, and what is known of its logits.
struct Input {
  Shape shape;
  std::vector<float> pixels;
  std::vector<float> expected;  ///< logits, or empty

  ImageBatch batch() const {
    return {.data = pixels.data(),
            .count = shape[0],
            .height = shape[2],
            .width = shape[3],
            .layout = ImageBatch::Layout::nchw};
  }
};

/// A model, and how long it took to have it.
struct Loaded {
  Model model;
  double import_seconds;
  double load_seconds;
};

Shape parse_shape(const std::string& text, std::int64_t channels) {
  constexpr std::int64_t kMostValues = std::int64_t{1} << 33;
  Shape shape;
  std::int64_t values = 1;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  while (at < end) {
    std::int64_t size = 0;
    const auto [next, error] = std::from_chars(at, end, size);
    if (error != std::errc() || size < 1 || size > kMostValues / values) break;
    if (next != end && (*next != 'x' || next + 1 == end)) break;
    values *= size;
    shape.push_back(size);
    at = next == end ? end : next + 1;
  }
  if (at != end || shape.size() != 4 || shape[1] != channels) {
    fail_usage("--shape '{}': expected BATCHx{}xHEIGHTxWIDTH such as 1x{}x224x224", text, channels, channels);
  }
  return shape;
}

Input random_input(const Shape& shape, std::uint64_t seed) {
  Input input{.shape = shape,
              .pixels = std::vector<float>(static_cast<std::size_t>(element_count(shape))),
              .expected = {}};
  Random random(seed);
  for (float& value : input.pixels) value = static_cast<float>(random.uniform(-2.0, 2.0));
  return input;
}

Input read_input(const std::filesystem::path& path, std::int64_t channels) {
  const Weights file = read_safetensors(path);
  const Tensor images = input_tensor(file, path, channels, {DType::f32});
  Input input{.shape = images.shape(), .pixels = images.values<float>(), .expected = {}};
  if (const Tensor* logits = file.tensors.find("logits"); logits != nullptr) {
    if (logits->dtype() != DType::f32) fail("{}: expected 'logits' of type F32", path.string());
    input.expected = logits->values<float>();
  }
  return input;
}

Input make_input(const Options& options, const Architecture& architecture) {
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
std::optional<double> run_first(const Options& options, Session& session, const Input& input) {
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
  const Input input = make_input(options, loaded.model.architecture());
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

/// What ran, for how long, and how near that is to what the machine can do.
nlohmann::ordered_json rates(const char* key, const std::string& name, const StepTime& time,
                             const MachinePeaks& peaks) {
  const double flops = time.flops / time.seconds;
  const double bytes = time.bytes / time.seconds;
  return {{key, name},
          {"ms", 1e3 * time.seconds},
          {"gflops", 1e-9 * flops},
          {"gbytes_per_second", 1e-9 * bytes},
          {"share_of_gemm_peak", flops / peaks.gemm_flops},
          {"share_of_copy_peak", bytes / peaks.copy_bytes}};
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

nlohmann::ordered_json layers_json(const std::vector<StepTime>& steps, const MachinePeaks& peaks) {
  auto rows = nlohmann::ordered_json::array();
  for (const StepTime& step : steps) {
    rows.push_back(rates("layer", step.layer, step, peaks));
    rows.back()["kernel"] = step.kernel;
  }
  return rows;
}

/// The steps of each kernel added up.
nlohmann::ordered_json kernels_json(const std::vector<StepTime>& steps, const MachinePeaks& peaks) {
  std::map<std::string, StepTime> sums;
  for (const StepTime& step : steps) {
    StepTime& sum = sums[step.kernel];
    sum.seconds += step.seconds;
    sum.flops += step.flops;
    sum.bytes += step.bytes;
  }
  auto rows = nlohmann::ordered_json::array();
  for (const auto& [kernel, sum] : sums) rows.push_back(rates("kernel", kernel, sum, peaks));
  return rows;
}

/// The largest difference from LibTorch's logits on the same input.
double difference_from_torch(const Options& options, const Input& input, std::span<const float> logits) {
  NetworkOptions how = options.network;
  how.backend = Backend::torch;
  how.precision = Precision::fp32;
  const Tensor images = Tensor::from(input.shape, input.pixels);
  return relative_deviation(logits, Network::open(how).stages(images, false).at("logits").values<float>());
}

nlohmann::ordered_json run(const Options& options) {
  const Loaded loaded = load(options.network, task_from_name(options.task));
  const Architecture& architecture = loaded.model.architecture();
  const Input input = make_input(options, architecture);
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
      const Input sized = shape == input.shape ? input : random_input(shape, options.network.seed);
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

void print_rates(const nlohmann::ordered_json& rows, const char* key, std::size_t width) {
  fmt::print("\n{:{}}  {:>9}  {:>8}  {:>7}  {:>7}  {:>7}\n", key, width, "ms", "GFLOP/s", "of peak", "GB/s",
             "of peak");
  for (const auto& row : rows) {
    fmt::print("{:{}}  {:9.3f}  {:8.1f}  {:6.1f}%  {:7.1f}  {:6.1f}%\n", row[key].get<std::string>(), width,
               row["ms"].get<double>(), row["gflops"].get<double>(),
               100.0 * row["share_of_gemm_peak"].get<double>(), row["gbytes_per_second"].get<double>(),
               100.0 * row["share_of_copy_peak"].get<double>());
  }
}

void print_latencies(const nlohmann::ordered_json& rows) {
  fmt::print("{:>7}  {:>6}  {:>6}  {:>9}  {:>9}  {:>9}  {:>9}  {:>8}\n", "threads", "batch", "runs", "min ms",
             "median ms", "p90 ms", "p99 ms", "images/s");
  for (const auto& row : rows) {
    fmt::print("{:>7}  {:>6}  {:>6}  {:9.2f}  {:9.2f}  {:9.2f}  {:9.2f}  {:8.1f}\n",
               row["threads"].get<int>(), row["batch"].get<std::int64_t>(), row["runs"].get<int>(),
               row["min_ms"].get<double>(), row["median_ms"].get<double>(), row["p90_ms"].get<double>(),
               row["p99_ms"].get<double>(), row["images_per_second"].get<double>());
  }
}

void print_table(const nlohmann::ordered_json& result) {
  fmt::print("{} {} {} on {}: loaded in {:.0f} ms, {:.1f} MB of weights, peak memory {:.0f} MB\n\n",
             result["variant"].get<std::string>(), result["shape"].dump(),
             result["precision"].get<std::string>(), result["isa"].get<std::string>(),
             result["load_ms"].get<double>(), result["weight_mb"].get<double>(),
             result["peak_rss_mb"].get<double>());
  print_latencies(result["latency"]);
  if (result.contains("difference_from_torch")) {
    fmt::print("\nlargest difference from LibTorch's fp32 logits: {:.2e} of the greatest\n",
               result["difference_from_torch"].get<double>());
  }
  if (result.contains("layers")) {
    print_rates(result["layers"], "layer", 44);
    print_rates(result["kernels"], "kernel", 44);
    fmt::print("\npeaks: {:.0f} GFLOP/s (2048^3 product), {:.1f} GB/s (copy of 256 MB)\n",
               result["gemm_peak_gflops"].get<double>(), result["copy_peak_gbytes_per_second"].get<double>());
  }
}

void print_training(const nlohmann::ordered_json& result) {
  fmt::print("training {} {} {} on {}: {} parameters\n\n", result["variant"].get<std::string>(),
             result["shape"].dump(), result["precision"].get<std::string>(), result["isa"].get<std::string>(),
             result["parameters"].get<std::int64_t>());
  print_latencies(result["latency"]);
  fmt::print("\n");
  for (const auto& row : result["latency"]) {
    fmt::print("{} threads, batch {}: {:.1f} % of a step updates the weights, peak memory {:.0f} MB\n",
               row["threads"].get<int>(), row["batch"].get<std::int64_t>(),
               100.0 * row["update_share"].get<double>(), row["peak_rss_mb"].get<double>());
  }
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
    print_table(result);
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
  add_json(app, options->json);
  return [options] { bench(*options); };
}

}  // namespace spatialmamba::cli
