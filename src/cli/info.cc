#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <map>
#include <memory>

#include "base/error.h"
#include "cli/options.h"
#include "cli/task.h"
#include "cli/verbs.h"
#include "spatialmamba/architecture.h"
#include "spatialmamba/detector.h"
#include "spatialmamba/segmentor.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::cli {
namespace {

constexpr ImageSize kDefaultSize{224, 224};
constexpr ImageSize kDefaultSegmentationSize{512, 2048};
constexpr ImageSize kDefaultDetectionSize{800, 1280};
constexpr std::int64_t kFloatBytes = 4;

struct Options {
  std::filesystem::path weights;
  bool ema = false;
  std::string variant;
  std::string task;
  std::int64_t num_classes = 0;  ///< 0: as the variant or the file has it
  ImageSize size;
  bool layers = false;
  bool json = false;
};

/// What is shown: a model, and where it came from a file what that says about itself.
struct Subject {
  Task task = Task::classification;
  Architecture architecture;        ///< of a segmentor: its backbone
  SegmentorArchitecture segmentor;  ///< of a segmentor
  DetectorArchitecture detector;    ///< of a detector
  ImageSize size = kDefaultSize;
  std::map<std::string, std::string> metadata;
  WeightsMismatch mismatch;
  std::int64_t file_bytes = 0;  ///< of all tensors in the file
};

struct Summary {
  std::vector<LayerCost> layers;
  std::int64_t parameters = 0;
  std::int64_t parameter_tensors = 0;
  std::int64_t buffers = 0;
  std::int64_t weight_bytes = 0;
  std::int64_t flops = 0;
  std::map<std::string, std::int64_t> flops_by_operation;
  std::int64_t activation_bytes = 0;          ///< outputs of all layers
  std::int64_t largest_activation_bytes = 0;  ///< output of the largest one
};

void take_segmentor(Subject& subject, const SegmentorArchitecture& segmentor) {
  subject.segmentor = segmentor;
  subject.architecture = segmentor.backbone;
  subject.architecture.num_classes = segmentor.num_classes;
  subject.size = kDefaultSegmentationSize;
}

void take_detector(Subject& subject, const DetectorArchitecture& detector) {
  subject.detector = detector;
  subject.architecture = detector.backbone;
  subject.architecture.num_classes = detector.num_classes;
  subject.size = kDefaultDetectionSize;
}

std::vector<TensorSpec> specs_of(const Subject& subject) {
  if (subject.task == Task::detection) return tensor_specs(subject.detector);
  return subject.task == Task::segmentation ? tensor_specs(subject.segmentor)
                                            : tensor_specs(subject.architecture);
}

std::vector<LayerCost> layers_of(const Subject& subject) {
  const auto [height, width] = subject.size;
  if (subject.task == Task::detection) return layer_costs(subject.detector, height, width);
  return subject.task == Task::segmentation ? layer_costs(subject.segmentor, height, width)
                                            : layer_costs(subject.architecture, height, width);
}

Subject subject_from_file(const Options& options) {
  const Weights weights = read_weights(options.weights, options.ema ? "model_ema" : "");
  Subject subject;
  subject.task = infer_task(weights.tensors);
  try {
    if (subject.task == Task::detection) {
      take_detector(subject, infer_detector(weights.tensors));
      subject.mismatch = compare(subject.detector, weights.tensors);
    } else if (subject.task == Task::segmentation) {
      take_segmentor(subject, infer_segmentor(weights.tensors));
      subject.mismatch = compare(subject.segmentor, weights.tensors);
    } else {
      subject.architecture = infer_architecture(weights.tensors);
      subject.mismatch = compare(subject.architecture, weights.tensors);
    }
  } catch (const Error& error) {
    fail("{}: {}", options.weights.string(), error.what());
  }
  subject.metadata = weights.metadata;
  for (const auto& [name, tensor] : weights.tensors)
    subject.file_bytes += static_cast<std::int64_t>(tensor.bytes());
  const auto size = weights.metadata.find("size");
  if (size != weights.metadata.end()) subject.size = parse_size(size->second);
  return subject;
}

Subject subject_of(const Options& options) {
  if (options.weights.empty() == options.variant.empty()) {
    fail_usage("either a weights file or --variant is needed; the variants are {}",
               fmt::join(variant_names(), ", "));
  }
  Subject subject;
  if (options.weights.empty() && options.task == name_of(Task::detection)) {
    subject.task = Task::detection;
    take_detector(subject, detector_of(options.variant));
  } else if (options.weights.empty() && options.task == name_of(Task::segmentation)) {
    subject.task = Task::segmentation;
    take_segmentor(subject, segmentor_of(options.variant));
  } else if (options.weights.empty()) {
    subject.architecture = architecture_of(options.variant);
  } else {
    subject = subject_from_file(options);
  }
  if (options.num_classes > 0) {
    subject.architecture.num_classes = options.num_classes;
    subject.segmentor.num_classes = options.num_classes;
    subject.detector.num_classes = options.num_classes;
  }
  if (options.size.height > 0) subject.size = options.size;
  return subject;
}

Summary summarise(const Subject& subject) {
  Summary summary;
  summary.layers = layers_of(subject);
  for (const LayerCost& layer : summary.layers) {
    const std::int64_t bytes = element_count(layer.output) * kFloatBytes;
    summary.flops += layer.flops;
    summary.flops_by_operation[layer.operation] += layer.flops;
    summary.activation_bytes += bytes;
    summary.largest_activation_bytes = std::max(summary.largest_activation_bytes, bytes);
  }
  for (const TensorSpec& spec : specs_of(subject)) {
    const std::int64_t elements = element_count(spec.shape);
    (spec.trainable ? summary.parameters : summary.buffers) += elements;
    summary.parameter_tensors += spec.trainable ? 1 : 0;
    summary.weight_bytes += elements * static_cast<std::int64_t>(size_of(spec.dtype));
  }
  if (subject.file_bytes > 0) summary.weight_bytes = subject.file_bytes;
  return summary;
}

nlohmann::ordered_json layers_as_json(const std::vector<LayerCost>& layers) {
  auto list = nlohmann::ordered_json::array();
  for (const LayerCost& layer : layers) {
    list.push_back({{"name", layer.name},
                    {"operation", layer.operation},
                    {"output", layer.output},
                    {"parameters", layer.parameters},
                    {"flops", layer.flops}});
  }
  return list;
}

nlohmann::ordered_json as_json(const Subject& subject, const Summary& summary, bool layers) {
  const Architecture& architecture = subject.architecture;
  nlohmann::ordered_json json{{"task", name_of(subject.task)},
                              {"variant", architecture.variant},
                              {"dims", architecture.dims},
                              {"depths", architecture.depths},
                              {"in_channels", architecture.in_channels},
                              {"num_classes", architecture.num_classes},
                              {"height", subject.size.height},
                              {"width", subject.size.width},
                              {"parameters", summary.parameters},
                              {"parameter_tensors", summary.parameter_tensors},
                              {"buffers", summary.buffers},
                              {"flops", summary.flops},
                              {"flops_by_operation", summary.flops_by_operation},
                              {"weight_bytes", summary.weight_bytes},
                              {"activation_bytes", summary.activation_bytes},
                              {"largest_activation_bytes", summary.largest_activation_bytes}};
  if (!subject.metadata.empty()) json["metadata"] = subject.metadata;
  if (!subject.mismatch.empty()) {
    json["missing"] = subject.mismatch.missing;
    json["unexpected"] = subject.mismatch.unexpected;
    json["misshaped"] = subject.mismatch.misshaped;
  }
  if (layers) json["layers"] = layers_as_json(summary.layers);
  return json;
}

/// 26,748,862
std::string grouped(std::int64_t value) {
  std::string text = std::to_string(value);
  for (auto at = static_cast<std::int64_t>(text.size()) - 3; at > 0; at -= 3) {
    text.insert(static_cast<std::size_t>(at), ",");
  }
  return text;
}

std::string mebibytes(std::int64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / 0x1p20);
}

void print_layers(const Summary& summary) {
  std::size_t width = 5;
  for (const LayerCost& layer : summary.layers) width = std::max(width, layer.name.size());
  fmt::print("\n{:{}}  {:14}  {:>15}  {:>10}  {:>13}  {:>6}\n", "layer", width, "operation", "output HxWxC",
             "parameters", "FLOPs", "share");
  for (const LayerCost& layer : summary.layers) {
    const double share = 100.0 * static_cast<double>(layer.flops) / static_cast<double>(summary.flops);
    fmt::print("{:{}}  {:14}  {:>15}  {:>10}  {:>13}  {:5.2f}%\n", layer.name, width, layer.operation,
               fmt::format("{}", fmt::join(layer.output, "x")), grouped(layer.parameters),
               grouped(layer.flops), share);
  }
}

void print_table(const Subject& subject, const Summary& summary) {
  const Architecture& architecture = subject.architecture;
  fmt::print("task         {}\n", name_of(subject.task));
  fmt::print("model        {} (dims {}; depths {})\n", architecture.variant,
             fmt::join(architecture.dims, ", "), fmt::join(architecture.depths, ", "));
  fmt::print("input        {} channels, {} x {} pixels\n", architecture.in_channels, subject.size.height,
             subject.size.width);
  fmt::print("classes      {}\n", architecture.num_classes);
  fmt::print("parameters   {} in {} tensors, and {} in buffers\n", grouped(summary.parameters),
             summary.parameter_tensors, grouped(summary.buffers));
  fmt::print("FLOPs        {} for one image\n", grouped(summary.flops));
  for (const auto& [operation, flops] : summary.flops_by_operation) {
    if (flops > 0) fmt::print("  {:14} {:>18}\n", operation, grouped(flops));
  }
  fmt::print("weights      {}\n", mebibytes(summary.weight_bytes));
  fmt::print("activations  {} for one image: the outputs of all layers in float32; the largest is {}\n",
             mebibytes(summary.activation_bytes), mebibytes(summary.largest_activation_bytes));
  for (const auto& [key, value] : subject.metadata) fmt::print("{:12} {}\n", key, value);
}

void info(const Options& options) {
  const Subject subject = subject_of(options);
  const Summary summary = summarise(subject);
  if (!subject.mismatch.empty()) {
    spdlog::warn("{} does not fit model {} throughout\n{}", options.weights.string(),
                 subject.architecture.variant, subject.mismatch.describe());
  }
  if (options.json) {
    print_json(as_json(subject, summary, options.layers));
    return;
  }
  print_table(subject, summary);
  if (options.layers) print_layers(summary);
}

}  // namespace

Run add_info(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("WEIGHTS,-w,--weights", options->weights, "Weights: .safetensors, or a PyTorch .pth")
      ->type_name("FILE");
  add_ema(app, options->ema);
  app.add_option("--variant", options->variant,
                 fmt::format("A built-in model instead of a file: {}", fmt::join(variant_names(), ", ")))
      ->type_name("NAME");
  add_task(app, options->task);
  app.add_option("--num-classes", options->num_classes, "Count with a head of so many classes")
      ->check(above_zero())
      ->type_name("N");
  add_size(app, options->size);
  app.add_flag("--layers", options->layers, "Every layer: output, parameters, FLOPs");
  add_json(app, options->json);
  return [options] { info(*options); };
}

}  // namespace spatialmamba::cli
