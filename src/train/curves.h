#pragma once

#include <filesystem>
#include <vector>

#include "train/log.h"

namespace spatialmamba::train {

/// A picture of the run so far: losses on the left, accuracies on the right, over the epochs.
void draw_curves(const std::filesystem::path& path, const std::vector<EpochRecord>& history);

}  // namespace spatialmamba::train
