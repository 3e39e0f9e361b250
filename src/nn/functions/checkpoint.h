#pragma once

#include <torch/torch.h>

#include <functional>
#include <vector>

namespace spatialmamba::nn {

/// function(x), of which only x is kept for backward: there the function runs a second time. It must compute
/// the same both times (draw no random numbers of its own, change no buffers). `parameters` are the tensors
/// besides x that its result depends on and that want gradients.
torch::Tensor checkpoint(std::function<torch::Tensor(const torch::Tensor&)> function, const torch::Tensor& x,
                         const std::vector<torch::Tensor>& parameters);

}  // namespace spatialmamba::nn
