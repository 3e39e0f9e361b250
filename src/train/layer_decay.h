#pragma once

#include <cstdint>
#include <string>

#include "spatialmamba/architecture.h"

namespace spatialmamba::train {

/// What a parameter's learning rate is multiplied by in fine-tuning: 1 for the head and the last norm,
/// `decay` for the last block, decay^2 for the one before it, ... and once more for the stem. A downsampling
/// counts as the block before it.
double layer_rate_scale(const std::string& name, const Architecture& architecture, double decay);

/// True for a parameter of the stem or of the first `stages` stages; none where `stages` is 0.
bool is_frozen(const std::string& name, std::int64_t stages);

}  // namespace spatialmamba::train
