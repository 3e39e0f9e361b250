// Times one training step (forward, backward, clip, AdamW) and reports the peak of memory, and on demand
// where the time goes. Usage: bench_train_step [variant] [batch] [size] [threads] [rounds] [fp32|bf16]
// [profile]
#include <fmt/format.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "nn/initialise.h"
#include "nn/spatial_mamba.h"
#include "train/adamw.h"
#include "train/parameter_groups.h"

namespace {

using namespace spatialmamba;

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Times {
  std::vector<double> forward;
  std::vector<double> backward;
  std::vector<double> update;
  std::vector<double> step;
};

void report(const std::string& name, std::vector<double> times) {
  std::ranges::sort(times);
  fmt::print("{:<9} min {:8.1f} ms   median {:8.1f} ms\n", name, times.front() * 1e3,
             times[times.size() / 2] * 1e3);
}

void run_step(nn::SpatialMamba& model, train::AdamW& optimizer, const torch::Tensor& images,
              const torch::Tensor& labels, Times& times) {
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
}

/// Time of each operator and autograd node in one step, its callees' left out.
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

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  const auto word = [&](std::size_t i, const char* otherwise) {
    return i < words.size() ? words[i] : otherwise;
  };
  const std::string variant = word(0, "tiny");
  const std::int64_t batch = std::stoll(word(1, "8"));
  const std::int64_t size = std::stoll(word(2, "224"));
  at::set_num_threads(std::stoi(word(3, "2")));
  const int rounds = std::stoi(word(4, "5"));
  const std::string precision = word(5, "fp32");

  Architecture architecture = architecture_of(variant);
  architecture.drop_path_rate = 0.0;
  nn::SpatialMamba model(
      architecture,
      nn::ModelOptions{.precision = precision == "bf16" ? nn::Precision::bf16 : nn::Precision::full});
  nn::initialise(*model, 1);
  model->train();
  train::NamedTensors parameters;
  for (const auto& entry : model->named_parameters()) parameters.emplace_back(entry.key(), entry.value());
  train::AdamW optimizer(train::group_parameters(parameters), {});
  const torch::Tensor images = torch::randn({batch, architecture.in_channels, size, size});
  const torch::Tensor labels = torch::randint(architecture.num_classes, {batch});

  Times warm_up;
  run_step(model, optimizer, images, labels, warm_up);
  Times times;
  for (int i = 0; i < rounds; ++i) run_step(model, optimizer, images, labels, times);
  fmt::print("{} batch {} {}x{} {} threads {} ({})\n", variant, batch, size, size, at::get_num_threads(),
             precision, kernels::name_of(kernels::default_isa()));
  report("forward", times.forward);
  report("backward", times.backward);
  report("update", times.update);
  report("step", times.step);
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  fmt::print("peak resident memory {} MB\n", usage.ru_maxrss / 1024);
  if (word(6, "") == "profile") print_profile([&] { run_step(model, optimizer, images, labels, times); });
}
