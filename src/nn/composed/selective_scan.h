#pragma once

#include <torch/torch.h>

namespace spatialmamba::nn::composed {

/// The states of the selective scan of kernels/selective_scan.h, (N, L, E), on any device:
///
///   d = softplus(delta),  h_t = exp(-exp(a_log) d_t) h_{t-1} + d_t b_t x_t
///
/// delta (N, L, E) with its bias added, a_log (E, 1), x (N, L, E), b (N, L, 1). Keeps its arguments and the
/// states for backward; whatever is formed in between is formed again there.
torch::Tensor selective_scan(const torch::Tensor& delta, const torch::Tensor& a_log, const torch::Tensor& x,
                             const torch::Tensor& b);

}  // namespace spatialmamba::nn::composed
