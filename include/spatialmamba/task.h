#pragma once

#include <string_view>

#include "spatialmamba/tensor.h"

namespace spatialmamba {

enum class Task { classification, segmentation, detection };

/// "classification", "segmentation", "detection".
std::string_view name_of(Task task);
/// Throws UsageError listing the known names.
Task task_from_name(std::string_view name);

/// What a state dictionary is for, by the heads it holds.
Task infer_task(const TensorMap& tensors);

}  // namespace spatialmamba
