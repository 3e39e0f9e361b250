#include "spatialmamba/task.h"

#include <algorithm>
#include <array>

#include "base/error.h"

namespace spatialmamba {
namespace {

struct Entry {
  Task task;
  std::string_view name;
  std::string_view head;  ///< what only this task's tensors begin with; empty: what remains
};

constexpr std::array<Entry, 3> kTasks = {{{Task::segmentation, "segmentation", "decode_head."},
                                          {Task::detection, "detection", "roi_head."},
                                          {Task::classification, "classification", ""}}};

}  // namespace

std::string_view name_of(Task task) {
  return std::ranges::find(kTasks, task, &Entry::task)->name;
}

Task task_from_name(std::string_view name) {
  const auto* found = std::ranges::find(kTasks, name, &Entry::name);
  if (found == kTasks.end()) {
    fail_usage("unknown task '{}': expected classification, segmentation or detection", name);
  }
  return found->task;
}

Task infer_task(const TensorMap& tensors) {
  const auto* found = std::ranges::find_if(kTasks, [&](const Entry& entry) {
    return std::any_of(tensors.begin(), tensors.end(),
                       [&](const TensorMap::Entry& tensor) { return tensor.name.starts_with(entry.head); });
  });
  return found == kTasks.end() ? Task::classification : found->task;
}

}  // namespace spatialmamba
