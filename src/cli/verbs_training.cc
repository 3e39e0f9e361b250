// The verbs of a build with LibTorch.
#include <torch/torch.h>
#include <torch/version.h>
#include <opencv2/core/version.hpp>

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

std::optional<std::string> describe_foreign(const std::exception& exception) {
  const auto* error = dynamic_cast<const c10::Error*>(&exception);
  if (error == nullptr) return std::nullopt;
  const std::string message = error->what_without_backtrace();
  // LibTorch has no type of its own for a failed allocation.
  if (message.find("can't allocate memory") != std::string::npos) {
    return "out of memory; try a smaller --batch or --size";
  }
  return "a defect of this program: LibTorch refused an operation: " + message.substr(0, message.find('\n'));
}

std::vector<Component> training_components() {
  return {{"LibTorch", TORCH_VERSION, "training and evaluation"}, {"OpenCV", CV_VERSION, "drawing"}};
}

}  // namespace spatialmamba::cli
