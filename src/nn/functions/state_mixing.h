#pragma once

#include <torch/torch.h>

#include <array>

#include "nn/compute.h"

namespace spatialmamba::nn {

struct StateMixingParameters {
  torch::Tensor conv_weight;      ///< (E, 1, 3, 3)
  torch::Tensor conv_bias;        ///< (E)
  torch::Tensor x_proj_weight;    ///< (R + 2, E)
  torch::Tensor dt_weight;        ///< (E, R)
  torch::Tensor dt_bias;          ///< (E)
  torch::Tensor a_logs;           ///< (E, 1)
  torch::Tensor ds;               ///< (E)
  torch::Tensor fusion_kernel_1;  ///< (E, 1, 3, 3), dilation 1
  torch::Tensor fusion_kernel_3;  ///< dilation 3
  torch::Tensor fusion_kernel_5;  ///< dilation 5
  torch::Tensor fusion_alpha;     ///< (3)
  torch::Tensor norm_weight;      ///< (E)
  torch::Tensor norm_bias;        ///< (E)
};

/// All of them: the order in which gradients travel.
inline constexpr std::array kStateMixingFields = {
    &StateMixingParameters::conv_weight,
    &StateMixingParameters::conv_bias,
    &StateMixingParameters::x_proj_weight,
    &StateMixingParameters::dt_weight,
    &StateMixingParameters::dt_bias,
    &StateMixingParameters::a_logs,
    &StateMixingParameters::ds,
    &StateMixingParameters::fusion_kernel_1,
    &StateMixingParameters::fusion_kernel_3,
    &StateMixingParameters::fusion_kernel_5,
    &StateMixingParameters::fusion_alpha,
    &StateMixingParameters::norm_weight,
    &StateMixingParameters::norm_bias,
};

/// The state maps (N, H, W, E) before and after fusion.
struct FusionStates {
  torch::Tensor before;
  torch::Tensor after;
};

/// Everything between in_proj and out_proj of the structure-aware SSM, xz (N, H, W, 2E) -> (N, H, W, E):
///   x, z = xz;  x = silu(conv(x) + bias)
///   dt, B, C = x x_proj^T;  delta = softplus(dt dt_weight^T + dt_bias);  A = -exp(a_logs)
///   h_t = exp(delta_t A) h_{t-1} + delta_t B_t x_t          over the tokens in compute.scan's order
///   s = fusion of h with its neighbours;  y_t = s_t C_t + D x_t
///   result = layer_norm(y) silu(z)
/// One autograd node: its parts share their gradients in place and keep only what is dear to compute again.
/// Fills `states` where given (then without gradients).
torch::Tensor state_mixing(const torch::Tensor& xz, const StateMixingParameters& parameters,
                           const ComputePtr& compute, FusionStates* states = nullptr);

}  // namespace spatialmamba::nn
