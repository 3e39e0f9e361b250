// The verbs of a build without LibTorch.
#include "cli/verbs.h"

namespace spatialmamba::cli {

std::span<const Verb> verbs() {
  static constexpr Verb kVerbs[] = {
      {"info", "Parameters, FLOPs, memory and layers of a model or a weights file",
       "spatialmamba info --variant tiny --size 224", add_info},
      {"doctor", "What this machine and this build can do, and what is missing", "spatialmamba doctor",
       add_doctor},
      {"info", "Parameters, FLOPs and memory of a model or a weights file",
       "spatialmamba info --variant tiny --layers", add_info},
  };
  return kVerbs;
}

std::optional<std::string> describe_foreign(const std::exception&) {
  return std::nullopt;
}

std::vector<Component> training_components() {
  return {};
}

}  // namespace spatialmamba::cli
