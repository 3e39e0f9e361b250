#pragma once

#include "engine/executor.h"
#include "engine/map.h"
#include "engine/network.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::engine {

/// Floats of memory that run_stem() works in for so many images.
std::int64_t stem_memory(const Network& network, std::int64_t images, std::int64_t height,
                         std::int64_t width);

/// Images to the tokens of the first stage, written to `out`, whose shape it returns.
MapShape run_stem(const Executor& run, const Network& network, const ImageBatch& images, float* memory,
                  float* out);

}  // namespace spatialmamba::engine
