#pragma once

#include <torch/torch.h>

namespace spatialmamba::train {

/// Cross-entropy against a distribution over the classes: the mean over the samples of -sum_c t_c log
/// softmax(x)_c. logits and targets (N, classes). Label smoothing is in the targets (data::soft_targets).
torch::Tensor soft_target_cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets);

}  // namespace spatialmamba::train
