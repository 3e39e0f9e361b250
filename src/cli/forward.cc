#include <fmt/format.h>

#include <memory>

#include "cli/detection.h"
#include "cli/inputs.h"
#include "cli/network.h"
#include "cli/segmentation.h"
#include "cli/task.h"
#include "cli/verbs.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::cli {
namespace {

struct Options {
  NetworkOptions network;
  std::filesystem::path input;
  std::filesystem::path output;
  std::string task;
  bool all = false;
  bool json = false;
};

Tensor read_input(const Options& options, std::int64_t channels) {
  return input_tensor(read_safetensors(options.input), options.input, channels, {DType::f32, DType::f64});
}

void print_report(const Options& options, const TensorMap& tensors) {
  nlohmann::ordered_json list;
  for (const auto& [name, tensor] : tensors) {
    list[name] = {{"dtype", std::string(name_of(tensor.dtype()))}, {"shape", tensor.shape()}};
    if (!options.json) fmt::print("{:24} {} {}\n", name, name_of(tensor.dtype()), to_string(tensor.shape()));
  }
  if (options.json) print_json({{"output", options.output.string()}, {"tensors", list}});
}

void forward(const Options& options) {
  const Network network = Network::open(options.network);
  const Tensor input = read_input(options, network.architecture().in_channels);
  Weights result;
  result.tensors = network.stages(input, options.all);
  result.metadata["variant"] = network.architecture().variant;
  write_safetensors(options.output, result);
  print_report(options, result.tensors);
}

/// A segmentor or a detector.
template <typename TaskNetwork>
void forward_maps(const Options& options) {
  const TaskNetwork network = TaskNetwork::open(options.network);
  const Tensor input = read_input(options, network.architecture().backbone.in_channels);
  Weights result;
  result.tensors = network.maps(input);
  result.metadata["variant"] = network.architecture().backbone.variant;
  write_safetensors(options.output, result);
  print_report(options, result.tensors);
}

}  // namespace

Run add_forward(CLI::App& app) {
  auto options = std::make_shared<Options>();
  add_network(app, options->network);
  app.add_option("-i,--input", options->input, "A .safetensors file with the tensor `input` (N, 3, H, W)")
      ->required()
      ->type_name("FILE");
  app.add_option("-o,--output", options->output, "Where every stage's output is written (.safetensors)")
      ->required()
      ->type_name("FILE");
  add_backend(app, options->network);
  app.add_flag("--all", options->all, "Also every block and the last norm");
  add_task(app, options->task);
  add_json(app, options->json);
  return [options] {
    const Task task = task_of(options->network.weights, options->network.ema, options->task);
    if (task == Task::detection) {
      forward_maps<DetectionNetwork>(*options);
    } else if (task == Task::segmentation) {
      forward_maps<SegmentationNetwork>(*options);
    } else {
      forward(*options);
    }
  };
}

}  // namespace spatialmamba::cli
