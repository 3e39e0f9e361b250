#pragma once

#include <cstdint>

#include "engine/batch_plan.h"
#include "engine/map.h"
#include "engine/network.h"
#include "kernels/aligned_vector.h"
#include "kernels/gemm.h"

namespace spatialmamba::engine {

/// Tokens whose mean one task of the pooling forms.
inline constexpr std::int64_t kPoolRows = 64;

/// Floats that a forward pass works in.
struct WorkspacePlan {
  std::int64_t map = 0;     ///< the largest map of the residual stream
  std::int64_t joint = 0;   ///< where images come in groups: the largest map of all images together
  std::int64_t wide = 0;    ///< the most that one step keeps beside it
  std::int64_t decode = 0;  ///< of a segmentor or detector: what its heads read and work in

  std::int64_t bytes() const {
    return (2 * map + joint + wide + decode) * static_cast<std::int64_t>(sizeof(float));
  }
};

WorkspacePlan plan_workspace(const Network& network, const BatchPlan& batch, int threads);

/// Memory that a forward pass works in; grows to the largest plan seen and is then used again.
struct Workspace {
  kernels::AlignedVector<float> maps[2];  ///< the running map and its successor
  kernels::AlignedVector<float> joint;    ///< where the maps of groups meet
  kernels::AlignedVector<float> wide;     ///< everything in between
  kernels::AlignedVector<float> decode;   ///< the features of a backbone, then its heads' memory
  kernels::GemmScratch scratch;           ///< of single tasks

  void reserve(const WorkspacePlan& plan);
  std::int64_t bytes() const;
};

}  // namespace spatialmamba::engine
