#pragma once

#include <ATen/Parallel.h>

#include "base/parallel.h"

namespace spatialmamba::nn {

/// LibTorch's own threads as the kernels' parallel-for, so that two pools never fight for the cores.
inline ParallelFor torch_parallel() {
  const auto run = [](void*, std::int64_t n, std::int64_t grain, RangeBody body) {
    at::parallel_for(0, n, grain, [body](std::int64_t begin, std::int64_t end) { body(begin, end); });
  };
  return {run, nullptr, at::get_num_threads()};
}

}  // namespace spatialmamba::nn
