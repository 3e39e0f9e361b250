// Times one training step (forward, backward, clip, AdamW) and reports the peak of memory, and on demand
// where the time goes. Usage: bench_train_step [variant] [batch] [size] [threads] [rounds] [fp32|bf16|fp16]
// [profile]
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/resource.h>
#include <torch/torch.h>
#include <CLI/CLI.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>
#include <iostream>
#include <map>
#include <string>
#include <vector>

#include "base/heap.h"
#include "base/parallel.h"
#include "nn/initialise.h"
#include "nn/spatial_mamba.h"
#include "train/adamw.h"
#include "train/parameter_groups.h"

namespace {

using namespace spatialmamba;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Processor time of all threads: steadier than the clock on a machine that others use too.
double processor_seconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto value = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return value(usage.ru_utime) + value(usage.ru_stime);
}

struct Times {
  std::vector<double> forward;
  std::vector<double> backward;
  std::vector<double> update;
  std::vector<double> step;
  std::vector<double> processor;
};

void report(const std::string& name, std::vector<double> times) {
  std::ranges::sort(times);
  fmt::print("{:<9} min {:8.1f} ms   median {:8.1f} ms\n", name, times.front() * 1e3,
             times[times.size() / 2] * 1e3);
}

void run_step(nn::SpatialMamba& model, train::AdamW& optimizer, const torch::Tensor& images,
              const torch::Tensor& labels, Times& times) {
  const double processor_start = processor_seconds();
  const double start = seconds();
  const torch::Tensor loss = torch::nn::functional::cross_entropy(model->forward(images), labels);
  const double forward_done = seconds();
  loss.backward();
  const double backward_done = seconds();
  const double norm = optimizer.gradient_norm();
  optimizer.step(1e-3, std::min(1.0, 5.0 / (norm + 1e-6)));
  optimizer.zero_grad();
  const double done = seconds();
  times.forward.push_back(forward_done - start);
  times.backward.push_back(backward_done - forward_done);
  times.update.push_back(done - backward_done);
  times.step.push_back(done - start);
  times.processor.push_back(processor_seconds() - processor_start);
}

/// Time of each operator and autograd node in one step, that of the operators it calls included.
void print_profile(const std::function<void()>& step) {
  using namespace torch::autograd::profiler;
  prepareProfiler(ProfilerConfig(ProfilerState::KINETO), {torch::profiler::impl::ActivityType::CPU});
  enableProfiler(ProfilerConfig(ProfilerState::KINETO), {torch::profiler::impl::ActivityType::CPU});
  step();
  const auto result = disableProfiler();
  struct Entry {
    double microseconds = 0.0;
    int calls = 0;
  };
  std::map<std::string, Entry> totals;
  for (const auto& event : result->events()) {
    Entry& entry = totals[event.name()];
    entry.microseconds += static_cast<double>(event.durationNs()) * 1e-3;
    ++entry.calls;
  }
  std::vector<std::pair<std::string, Entry>> sorted(totals.begin(), totals.end());
  std::ranges::sort(
      sorted, [](const auto& a, const auto& b) { return a.second.microseconds > b.second.microseconds; });
  for (std::size_t i = 0; i < std::min<std::size_t>(sorted.size(), 40); ++i) {
    fmt::print("{:10.1f} ms {:5} x  {}\n", sorted[i].second.microseconds * 1e-3, sorted[i].second.calls,
               sorted[i].first);
  }
}

struct Options {
  std::string variant = "tiny";
  std::string precision = "fp32";
  std::int64_t batch = 8;
  std::int64_t size = 224;
  int threads = available_cores();
  int rounds = 5;
  bool profile = false;
  bool interactive = false;
};

std::int64_t peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss / 1024;
}

void measure(const Options& options, const std::function<void(Times&)>& step) {
  Times warm_up;
  step(warm_up);
  Times times;
  for (int i = 0; i < options.rounds; ++i) step(times);
  fmt::print("{} batch {} {}x{} {} threads {} ({})\n", options.variant, options.batch, options.size,
             options.size, options.threads, options.precision, kernels::name_of(kernels::default_isa()));
  report("forward", times.forward);
  report("backward", times.backward);
  report("update", times.update);
  report("step", times.step);
  report("processor", times.processor);
  fmt::print("peak resident memory {} MB\n", peak_megabytes());
  if (options.profile) print_profile([&] { step(times); });
}

/// Takes turns with other programs (bench/peers/turns.py): `run N` on standard input, a JSON list of seconds
/// out.
void serve(const std::function<void(Times&)>& step) {
  fmt::print("{{}}\n");
  std::fflush(stdout);
  std::string word;
  for (int count = 0; std::cin >> word && word == "run" && std::cin >> count;) {
    Times times;
    for (int i = 0; i < count; ++i) step(times);
    fmt::print("[{}]\n", fmt::join(times.step, ", "));
    std::fflush(stdout);
  }
  fmt::print("{{\"peak_rss_mb\": {}}}\n", peak_megabytes());
}

int run(const Options& options) {
  keep_freed_memory();  // as `train` does
  at::set_num_threads(options.threads);
  Architecture architecture = architecture_of(options.variant);
  architecture.drop_path_rate = 0.0;  // every sample takes part in every branch
  nn::SpatialMamba model(architecture, nn::ModelOptions{.precision = nn::precision_of(options.precision)});
  nn::initialise(*model, 1);
  model->train();
  train::NamedTensors parameters;
  for (const auto& entry : model->named_parameters()) parameters.emplace_back(entry.key(), entry.value());
  train::AdamW optimizer(train::group_parameters(parameters), {});
  const torch::Tensor images =
      torch::randn({options.batch, architecture.in_channels, options.size, options.size});
  const torch::Tensor labels = torch::randint(architecture.num_classes, {options.batch});
  const auto step = [&](Times& times) { run_step(model, optimizer, images, labels, times); };
  options.interactive ? serve(step) : measure(options, step);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  CLI::App app("Times one training step: forward, backward, clip, AdamW");
  app.add_option("--variant", options.variant)->capture_default_str();
  app.add_option("--precision", options.precision)
      ->check(CLI::IsMember({"fp32", "bf16", "fp16"}))
      ->capture_default_str();
  app.add_option("--batch", options.batch)->capture_default_str();
  app.add_option("--size", options.size)->capture_default_str();
  app.add_option("--threads", options.threads)->capture_default_str();
  app.add_option("--rounds", options.rounds)->check(CLI::PositiveNumber)->capture_default_str();
  app.add_flag("--profile", options.profile, "then one step more, by operator");
  app.add_flag("--interactive", options.interactive, "N steps for each line 'run N' on standard input");
  CLI11_PARSE(app, argc, argv);
  try {
    return run(options);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}
