#include "cli/task.h"

#include "base/error.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::cli {

CLI::Option* add_task(CLI::App& app, std::string& task) {
  return app
      .add_option("--task", task,
                  "What the network is for: classification, segmentation or detection (default: what its "
                  "weights say)")
      ->check(CLI::IsMember({"classification", "segmentation", "detection"}))
      ->option_text("NAME");
}

Task task_of(const std::filesystem::path& weights, bool ema, const std::string& wanted) {
  if (weights.empty()) return wanted.empty() ? Task::classification : task_from_name(wanted);
  const Task found = infer_task(read_weights(weights, ema ? "model_ema" : "").tensors);
  if (!wanted.empty() && task_from_name(wanted) != found) {
    fail("{}: holds weights for {}, not for {}", weights.string(), name_of(found), wanted);
  }
  return found;
}

}  // namespace spatialmamba::cli
