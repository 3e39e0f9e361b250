#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/aligned_vector.h"

namespace spatialmamba::bench {

/// Numbers between low and high, the same in every run.
kernels::AlignedVector<float> random_values(std::int64_t n, double low = -1.0, double high = 1.0);

/// Adds a benchmark for one thread and one for all cores, measured in wall time: NAME/threads:N.
void register_by_threads(const std::string& name,
                         const std::function<void(benchmark::State&, int threads)>& run);

/// Defined by each program of kernel benchmarks: adds its benchmarks.
void register_all();

}  // namespace spatialmamba::bench
