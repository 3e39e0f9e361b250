#pragma once

#include <string>

#include "cli/options.h"
#include "spatialmamba/task.h"

namespace spatialmamba::cli {

/// --task classification|segmentation|detection: needed only where there are no weights to tell it.
CLI::Option* add_task(CLI::App& app, std::string& task);

/// The task that is asked for, else the one that the weights are for, else classification. Throws Error
/// naming the file when the two differ.
Task task_of(const std::filesystem::path& weights, bool ema, const std::string& wanted);

/// --fit LONGxSHORT, or one number for both. Throws UsageError.
ImageSize parse_fit(const std::string& text);

/// Throws UsageError for an option given to `app` that only networks of other tasks take.
void refuse_options_of_others(const CLI::App& app, Task task);

}  // namespace spatialmamba::cli
