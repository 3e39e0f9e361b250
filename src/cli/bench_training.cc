#include "cli/bench_training.h"

#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "base/heap.h"
#include "cli/measure.h"
#include "device/device.h"
#include "kernels/isa.h"
#include "nn/initialise.h"
#include "train/learner.h"

namespace spatialmamba::cli {
namespace {

train::Learner make_learner(Architecture architecture, const TrainingBench& options,
                            const torch::Device& device) {
  architecture.drop_path_rate = 0.0;  // every sample takes part in every branch
  nn::SpatialMamba model(architecture,
                         nn::ModelOptions{.precision = nn::precision_of(name_of(options.precision))});
  nn::initialise(*model, options.seed);
  model->to(device);
  // A rate of 0 costs as much as any other, and no number of steps makes the weights explode.
  train::LearnerOptions how{.adamw = {},
                            .schedule = {.base_rate = 0.0, .warmup_rate = 0.0, .minimum_rate = 0.0}};
  if (options.precision == Precision::fp16) how.loss_scale.emplace();
  return {model, how};
}

nlohmann::ordered_json measure_steps(train::Learner& learner, const Shape& shape, int threads,
                                     const TrainingBench& options, const torch::Device& device) {
  at::set_num_threads(threads);
  torch::manual_seed(options.seed);
  const torch::Tensor images = torch::randn(shape).contiguous(torch::MemoryFormat::ChannelsLast).to(device);
  const std::int64_t classes = learner.model()->architecture().num_classes;
  const torch::Tensor targets =
      torch::one_hot(torch::randint(classes, {shape[0]}), classes).to(device, torch::kFloat32);
  double all = 0.0;
  double updating = 0.0;
  const auto step = [&] {
    const double start = now();
    learner.accumulate(images, targets, false);
    device::wait(device);
    const double update = now();
    learner.update();
    device::wait(device);
    updating += now() - update;
    all += now() - start;
  };
  nlohmann::ordered_json row =
      measure_latency(step, options.seconds, options.runs).as_json(shape[0], threads);
  row["update_share"] = updating / all;
  row["peak_rss_mb"] = peak_rss_mb();
  if (const auto peak = device::peak_memory(device)) row["peak_device_memory_mib"] = *peak;
  return row;
}

}  // namespace

nlohmann::ordered_json bench_training(const Architecture& architecture, const TrainingBench& options) {
  keep_freed_memory();
  const torch::Device device = device::open(options.device, /*local_rank=*/0);
  train::Learner learner = make_learner(architecture, options, device);
  nlohmann::ordered_json result{{"variant", architecture.variant},
                                {"shape", options.shape},
                                {"precision", name_of(options.precision)},
                                {"isa", kernels::name_of(learner.model()->isa())},
                                {"device", options.device},
                                {"parameters", count_parameters(architecture)},
                                {"latency", nlohmann::ordered_json::array()}};
  for (const int threads : options.thread_counts) {
    for (const std::int64_t batch : options.batches) {
      Shape shape = options.shape;
      if (batch > 0) shape[0] = batch;
      result["latency"].push_back(measure_steps(learner, shape, threads, options, device));
    }
  }
  return result;
}

}  // namespace spatialmamba::cli
