// The verbs of a build without LibTorch.
#include "cli/verbs.h"

namespace spatialmamba::cli {

std::span<const Verb> verbs() {
  static constexpr Verb kVerbs[] = {
      {"predict", "What is in pictures",
       "spatialmamba predict --weights tiny.pth photo.jpg 'holiday/*.jpg' --out annotated", add_predict},
      {"forward", "Every stage's output for a tensor, to compare implementations",
       "spatialmamba forward --weights tiny.pth --input in.safetensors --output out.safetensors --precision "
       "fp64",
       add_forward},
      {"info", "Parameters, FLOPs, memory and layers of a model or a weights file",
       "spatialmamba info --variant tiny --size 224", add_info},
      {"bench", "How fast the engine runs a model here: latency, throughput, layer by layer",
       "spatialmamba bench --variant tiny --threads 2 --precision bf16 --layers", add_bench},
      {"convert", "Weights from one format into another: .pth, .safetensors",
       "spatialmamba convert tiny.pth tiny.safetensors", add_convert},
      {"doctor", "What this machine and this build can do, and what is missing", "spatialmamba doctor",
       add_doctor},
  };
  return kVerbs;
}

std::optional<std::string> describe_foreign(const std::exception&) {
  return std::nullopt;
}

std::vector<Component> training_components() {
  return {
      {.name = "LibTorch",
       .found = "",
       .purpose = "train, eval, visualize, forward in fp64",
       .advice = "run ./setup, then build with: cmake --preset release && cmake --build --preset release"}};
}

}  // namespace spatialmamba::cli
