#pragma once

#include <cstdint>

#include "engine/executor.h"
#include "engine/map.h"
#include "engine/network.h"

namespace spatialmamba::engine {

/// Floats of memory that decode() works in.
std::int64_t decode_memory(const UperHead& head, const Features& features);

/// UPerNet (Xiao et al., 2018) as mmsegmentation states it: the last stage's map with its pooled ones, then
/// from the top down, then all levels at the size of the first. Returns the class scores there, in `memory`.
Map decode(const UperHead& head, const Features& features, float* memory, const Executor& run,
           const Observer& observe);

}  // namespace spatialmamba::engine
