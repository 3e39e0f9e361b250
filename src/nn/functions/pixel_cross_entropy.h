#pragma once

#include <torch/torch.h>

#include "kernels/isa.h"

namespace spatialmamba::nn {

/// The cross-entropy of a map of class scores, and how often its best class is right.
struct PixelCrossEntropy {
  torch::Tensor sum;       ///< over the pixels with a label; differentiable by the scores
  std::int64_t known = 0;  ///< pixels with a label
  std::int64_t right = 0;  ///< of them those whose best class (the first of equals) is theirs
};

/// scores (N, h, w, C), resized like resize_map() to the labels (N, H, W) int64: classes below C, or
/// `unknown`. Neither the resized map nor its gradient is stored.
PixelCrossEntropy pixel_cross_entropy(const torch::Tensor& scores, const torch::Tensor& labels,
                                      std::int64_t unknown, kernels::Isa isa = kernels::default_isa());

}  // namespace spatialmamba::nn
