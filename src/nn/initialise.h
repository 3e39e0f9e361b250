#pragma once

#include <cstdint>

#include "nn/spatial_mamba.h"

namespace spatialmamba::nn {

/// Fills parameters and buffers with initial_weights() of that seed.
void initialise(SpatialMambaImpl& model, std::uint64_t seed);

/// The head alone (for another number of classes).
void initialise_head(SpatialMambaImpl& model, std::uint64_t seed);

}  // namespace spatialmamba::nn
