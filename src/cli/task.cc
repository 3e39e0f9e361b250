#include "cli/task.h"

#include <array>

#include "base/error.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::cli {
namespace {

/// An option that not all tasks take.
struct OwnOption {
  const char* name;
  Task task;
  const char* instead = "";  ///< what does it for others
};
constexpr std::array kOwnOptions = {
    OwnOption{"--size", Task::classification, "; --fit says how large pictures are shown"},
    OwnOption{"--top", Task::classification},
    OwnOption{"--tta", Task::segmentation},
    OwnOption{"--window", Task::segmentation, "; detectors take --tile"},
    OwnOption{"--tile", Task::detection, "; segmentors take --window"},
    OwnOption{"--score", Task::detection},
    OwnOption{"--nms", Task::detection},
    OwnOption{"--mask-threshold", Task::detection},
    OwnOption{"--max-detections", Task::detection},
    OwnOption{"--proposals", Task::detection},
};

bool is_given(const CLI::App& app, const char* name) {
  const CLI::Option* option = app.get_option_no_throw(name);
  return option != nullptr && option->count() > 0;
}

}  // namespace

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

ImageSize parse_fit(const std::string& text) {
  try {
    return parse_size(text);
  } catch (const UsageError&) {
    fail_usage("--fit '{}': expected LONGxSHORT in pixels such as 2048x512 (segmentors also take `native`)",
               text);
  }
}

void refuse_options_of_others(const CLI::App& app, Task task) {
  for (const OwnOption& option : kOwnOptions) {
    if (option.task != task && is_given(app, option.name)) {
      fail_usage("{} is for {}, and this network is for {}{}", option.name, name_of(option.task),
                 name_of(task), option.instead);
    }
  }
  if (task == Task::classification && is_given(app, "--fit")) {
    fail_usage("--fit is for segmentation and detection; classifiers take --size");
  }
}

}  // namespace spatialmamba::cli
