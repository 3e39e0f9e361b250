#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <vector>

#include "nn/compute.h"

namespace spatialmamba::nn {

/// RoIAlign from the pyramid level that suits each box: maps[i] (N, H_i, W_i, C) at strides 4 · 2^i, four of
/// them; rois (R, 5) of the maps' type: image, x1, y1, x2, y2 in pixels -> (R, size, size, C). Gradients
/// reach the maps.
torch::Tensor roi_pool(const std::vector<torch::Tensor>& maps, const torch::Tensor& rois, std::int64_t size,
                       const ComputePtr& compute);

}  // namespace spatialmamba::nn
