#include "nn/functions/maps.h"

namespace spatialmamba::nn {
namespace {

/// (N, H, W, C) seen as (N, C, H, W), without a copy.
torch::Tensor planes(const torch::Tensor& x) {
  return x.permute({0, 3, 1, 2});
}

torch::Tensor tokens(const torch::Tensor& x) {
  return x.permute({0, 2, 3, 1}).contiguous();
}

}  // namespace

torch::Tensor dense_conv(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                         std::int64_t stride) {
  const torch::Tensor ordered = weight.contiguous(at::MemoryFormat::ChannelsLast);
  return tokens(at::conv2d(planes(x), ordered, bias, stride, weight.size(2) / 2));
}

torch::Tensor resize_map(const torch::Tensor& x, std::int64_t height, std::int64_t width) {
  if (x.size(1) == height && x.size(2) == width) return x;
  return tokens(at::upsample_bilinear2d(planes(x), {height, width}, false));
}

torch::Tensor pool_map(const torch::Tensor& x, std::int64_t side) {
  return tokens(at::adaptive_avg_pool2d(planes(x), {side, side}));
}

}  // namespace spatialmamba::nn
