#pragma once

#include <cstdint>
#include <filesystem>

#include "train/learner.h"

namespace spatialmamba::train {

/// Takes over model, averaged weights (`model_ema`; those of the model where there are none), AdamW's moments
/// and step, and where losses are scaled the scale that it holds, from a .pth that the reference's training
/// code saved. Returns the number of finished epochs.
/// Throws Error naming the file and what is missing or does not fit, before anything is changed.
std::int64_t load_reference_checkpoint(const std::filesystem::path& path, Learner& learner);

}  // namespace spatialmamba::train
