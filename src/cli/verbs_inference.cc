// The verbs of a build without LibTorch.
#include "cli/verbs.h"

namespace spatialmamba::cli {

std::span<const Verb> verbs() {
  static constexpr Verb kVerbs[] = {
      {"info", "Parameters, FLOPs, memory and layers of a model or a weights file",
       "spatialmamba info --variant tiny --size 224", add_info},
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
       .purpose = "train, eval, predict, forward, visualize",
       .advice = "run ./setup, then build with: cmake --preset release && cmake --build --preset release"}};
}

}  // namespace spatialmamba::cli
