#pragma once

#include "base/parallel.h"

namespace spatialmamba::nn {

/// LibTorch's own threads as the kernels' parallel-for, so that two pools never fight for the cores.
ParallelFor torch_parallel();

}  // namespace spatialmamba::nn
