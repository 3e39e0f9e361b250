#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/options.h"
#include "spatialmamba/architecture.h"
#include "spatialmamba/tensor.h"

namespace spatialmamba::cli {

struct TrainingBench {
  Shape shape;                        ///< of the images, NCHW
  std::vector<std::int64_t> batches;  ///< in place of the shape's; 0: that one
  std::vector<int> thread_counts;
  Precision precision = Precision::fp32;
  std::string device = "cpu";  ///< or cuda: the first GPU, through LibTorch's operators
  std::uint64_t seed = 0;
  double seconds = 3.0;
  int runs = 10;
};

/// Training steps as `train` makes them, from images in memory to averaged weights: forward, backward,
/// clipping, AdamW, EMA; random images and classes, without mixing and MESA. Throws UsageError in a build
/// without LibTorch.
nlohmann::ordered_json bench_training(const Architecture& architecture, const TrainingBench& options);

}  // namespace spatialmamba::cli
