#include "train/losses.h"

namespace spatialmamba::train {

torch::Tensor soft_target_cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets) {
  return -(targets * torch::log_softmax(logits, -1)).sum(-1).mean();
}

}  // namespace spatialmamba::train
