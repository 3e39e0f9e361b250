#pragma once

#include <cstdint>

#include "kernels/aligned_vector.h"
#include "kernels/gemm.h"

namespace spatialmamba::engine {

/// Memory that a forward pass works in; grows to the largest size seen and is then used again.
struct Workspace {
  kernels::AlignedVector<float> maps[2];  ///< the running map and its successor
  kernels::AlignedVector<float> wide;     ///< everything in between
  kernels::GemmScratch scratch;           ///< of single tasks

  std::int64_t bytes() const {
    return static_cast<std::int64_t>((maps[0].size() + maps[1].size() + wide.size()) * sizeof(float));
  }
};

}  // namespace spatialmamba::engine
