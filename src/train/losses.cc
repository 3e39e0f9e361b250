#include "train/losses.h"

namespace spatialmamba::train {

torch::Tensor soft_target_cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets,
                                        const torch::Tensor& class_weights) {
  if (!class_weights.defined()) return -(targets * torch::log_softmax(logits, -1)).sum(-1).mean();
  const torch::Tensor weighted = targets * class_weights;
  return -(weighted * torch::log_softmax(logits, -1)).sum() / weighted.sum();
}

}  // namespace spatialmamba::train
