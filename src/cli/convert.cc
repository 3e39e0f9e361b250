#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <memory>
#include <string_view>

#include "base/error.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "spatialmamba/task.h"
#include "spatialmamba/weights.h"
#include "weights/class_map.h"

namespace spatialmamba::cli {
namespace {

struct Options {
  std::filesystem::path input;
  std::filesystem::path output;
  std::string key;
  bool ema = false;
  std::filesystem::path class_map;
  bool json = false;
};

struct Format {
  std::string_view suffix;
  void (*write)(const std::filesystem::path& path, const Weights& weights);
};

/// Under the entry that the reference's programs read: its own for classifiers, OpenMMLab's for other tasks.
void write_for_torch(const std::filesystem::path& path, const Weights& weights) {
  const bool classifier = infer_task(weights.tensors) == Task::classification;
  write_pth(path, weights, classifier ? "model" : "state_dict");
}

/// Other readers of .safetensors ask for "format": "pt" before they take a file for PyTorch's.
void write_with_format(const std::filesystem::path& path, const Weights& weights) {
  Weights labelled = weights;
  labelled.metadata.try_emplace("format", "pt");
  write_safetensors(path, labelled);
}

constexpr std::array kFormats = {Format{".safetensors", write_with_format}, Format{".pth", write_for_torch},
                                 Format{".pt", write_for_torch}};

const Format& format_of(const std::filesystem::path& output) {
  for (const Format& format : kFormats) {
    if (output.extension() == format.suffix) return format;
  }
  fail_usage("{}: the output's name must end in .safetensors, .pth or .pt", output.string());
}

void convert(const Options& options) {
  const Format& format = format_of(options.output);
  if (std::error_code none; std::filesystem::equivalent(options.input, options.output, none)) {
    fail_usage("{}: the output is the input itself; give it another name", options.output.string());
  }
  Weights weights = read_weights(options.input, options.ema ? "model_ema" : options.key);
  if (!options.class_map.empty()) {
    select_classes(weights, read_class_map(options.class_map), options.input.string());
  }
  format.write(options.output, weights);
  std::uint64_t bytes = 0;
  for (const auto& [name, tensor] : weights.tensors) bytes += tensor.bytes();
  if (options.json) {
    print_json({{"input", options.input.string()},
                {"output", options.output.string()},
                {"tensors", weights.tensors.size()},
                {"bytes", bytes}});
  } else {
    fmt::print("{}: {} tensors, {} bytes\n", options.output.string(), weights.tensors.size(), bytes);
  }
}

}  // namespace

Run add_convert(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("IN", options->input, "Weights: .safetensors, or a PyTorch .pth (told apart by content)")
      ->required()
      ->type_name("FILE");
  app.add_option("OUT", options->output, "The file to write: .safetensors, .pth or .pt (told apart by name)")
      ->required()
      ->type_name("FILE");
  CLI::Option* key =
      app.add_option("--key", options->key,
                     "Which entry of a checkpoint; default: model, else state_dict, else all of it")
          ->type_name("NAME");
  add_ema(app, options->ema)->excludes(key);
  app.add_option(
         "--class-map", options->class_map,
         "Keep the classes with these numbers, one a line, in this order: ImageNet-22K's map to 1K, say")
      ->type_name("FILE");
  add_json(app, options->json);
  return [options] { convert(*options); };
}

}  // namespace spatialmamba::cli
