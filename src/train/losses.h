#pragma once

#include <torch/torch.h>

namespace spatialmamba::train {

/// Cross-entropy against a distribution over the classes: the mean over the samples of -sum_c t_c log
/// softmax(x)_c. logits and targets (N, classes). Label smoothing is in the targets (data::soft_targets).
///
/// With `class_weights` w (classes), of the targets' type, it is their weighted mean: -sum_nc w_c t_nc log
/// softmax(x_n)_c over sum_nc w_c t_nc, which for targets of 0 and 1 is PyTorch's cross_entropy(weight=w).
torch::Tensor soft_target_cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets,
                                        const torch::Tensor& class_weights = {});

}  // namespace spatialmamba::train
