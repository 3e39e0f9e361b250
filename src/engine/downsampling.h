#pragma once

#include "engine/executor.h"
#include "engine/map.h"
#include "engine/network.h"

namespace spatialmamba::engine {

/// Floats of the expanded map, where a pass over maps of this shape sends it through memory; otherwise 0.
std::int64_t downsampling_memory(const Downsampling& down, const MapShape& shape, int threads);

/// Half the height and width: a linear layer with the rectifier, a depthwise convolution by steps of two with
/// the rectifier, a linear layer. `expanded`: downsampling_memory() floats.
void downsample(const Executor& run, const Downsampling& down, const Map& map, float* expanded, float* out);

}  // namespace spatialmamba::engine
