#pragma once

#include <torch/torch.h>

namespace spatialmamba::nn {

/// x (N, H, W, C) through a dense convolution: weight (K, C, k, k) with odd k, a border of k/2 zeros and the
/// given stride; bias (K) or undefined -> (N, ceil(H/stride), ceil(W/stride), K).
torch::Tensor dense_conv(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias = {},
                         std::int64_t stride = 1);

/// x (N, H, W, C) resized to (N, height, width, C): bilinear between the pixels' centres, the border repeated
/// (PyTorch's align_corners=False, antialias=False).
torch::Tensor resize_map(const torch::Tensor& x, std::int64_t height, std::int64_t width);

/// The mean of each of side x side equal parts: (N, H, W, C) -> (N, side, side, C).
torch::Tensor pool_map(const torch::Tensor& x, std::int64_t side);

}  // namespace spatialmamba::nn
