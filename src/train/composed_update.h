#pragma once

#include <torch/torch.h>

#include <vector>

#include "kernels/optimizer_update.h"

/// kernels/optimizer_update.h made of LibTorch's operators: for tensors of any one device, which is not
/// waited for.
namespace spatialmamba::train::composed {

/// One of each for every parameter.
struct AdamWTensors {
  std::vector<torch::Tensor> parameters;
  std::vector<torch::Tensor> gradients;  ///< are scaled in place
  std::vector<torch::Tensor> means;
  std::vector<torch::Tensor> variances;
};

void adamw_update(const kernels::AdamW& settings, const AdamWTensors& tensors);

/// averages = decay * averages + (1 - decay) * values.
void ema_update(double decay, const std::vector<torch::Tensor>& averages,
                const std::vector<torch::Tensor>& values);

/// The 2-norm of all tensors together, summed up in double: a scalar on their device.
torch::Tensor norm(const std::vector<torch::Tensor>& tensors);

}  // namespace spatialmamba::train::composed
