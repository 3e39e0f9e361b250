#include "nn/parallel.h"

#include <ATen/Parallel.h>

// Without OpenMP at::parallel_for, a template, would be compiled into a plain loop.
#ifndef INTRA_OP_PARALLEL
#error "compile this file with OpenMP"
#endif

namespace spatialmamba::nn {
namespace {

void run(void*, std::int64_t n, std::int64_t grain, RangeBody body) {
  at::parallel_for(0, n, grain, [body](std::int64_t begin, std::int64_t end) { body(begin, end); });
}

}  // namespace

ParallelFor torch_parallel() { return {run, nullptr, at::get_num_threads()}; }

}  // namespace spatialmamba::nn
