#include "nn/stem.h"

#include "nn/functions/depthwise_conv.h"
#include "nn/functions/linear.h"
#include "nn/functions/maps.h"

namespace spatialmamba::nn {
namespace {

constexpr std::int64_t kStemExpand = 4;        // channels of the stem's last 3x3 convolution, times dim
constexpr std::int64_t kDownsampleExpand = 8;  // hidden channels of a downsampling, times dim

/// Names the parts "0", "1", … below one child.
void register_list(torch::nn::Module& owner, const std::string& name, const std::vector<ConvNorm>& parts) {
  torch::nn::ModuleList list;
  for (const ConvNorm& part : parts) list->push_back(part);
  owner.register_module(name, list);
}

}  // namespace

ConvNormImpl::ConvNormImpl(at::IntArrayRef weight_shape, bool with_bias, bool with_norm) {
  conv = register_module("conv", Affine(weight_shape, with_bias));
  if (with_norm) norm = register_module("norm", BatchNorm(weight_shape[0]));
}

StemImpl::StemImpl(std::int64_t in_channels, std::int64_t dim, ComputePtr compute)
    : compute_(std::move(compute)) {
  const std::int64_t half = dim / 2;
  const std::int64_t wide = kStemExpand * dim;
  const auto part = [](std::int64_t out, std::int64_t in, std::int64_t kernel) {
    return ConvNorm(std::vector<std::int64_t>{out, in, kernel, kernel}, false, true);
  };
  conv1_ = register_module("conv1", part(half, in_channels, 3));
  conv2_ = {part(half, half, 3), part(half, half, 3)};
  conv3_ = {part(wide, half, 3), part(dim, wide, 1)};
  register_list(*this, "conv2", conv2_);
  register_list(*this, "conv3", conv3_);
}

torch::Tensor StemImpl::forward(const torch::Tensor& images) {
  torch::Tensor x = images.permute({0, 2, 3, 1}).contiguous();
  const torch::Tensor a = torch::relu(conv1_->norm(dense_conv(x, conv1_->conv->weight, {}, 2)));
  x = torch::relu(conv2_[0]->norm(dense_conv(a, conv2_[0]->conv->weight, {}, 1)));
  x = conv2_[1]->norm(dense_conv(x, conv2_[1]->conv->weight, {}, 1)) + a;
  x = torch::relu(conv3_[0]->norm(dense_conv(x, conv3_[0]->conv->weight, {}, 2)));
  return conv3_[1]->norm(linear(x, conv3_[1]->conv->weight, {}, false, compute_)).contiguous();
}

DownsamplingImpl::DownsamplingImpl(std::int64_t dim, std::int64_t next_dim, ComputePtr compute)
    : compute_(std::move(compute)) {
  const std::int64_t hidden = kDownsampleExpand * dim;
  conv_ = {ConvNorm(std::vector<std::int64_t>{hidden, dim, 1, 1}, true, false),
           ConvNorm(std::vector<std::int64_t>{hidden, 1, 3, 3}, true, false),
           ConvNorm(std::vector<std::int64_t>{next_dim, hidden, 1, 1}, true, true)};
  register_list(*this, "conv", conv_);
}

torch::Tensor DownsamplingImpl::forward(const torch::Tensor& x) {
  torch::Tensor y = linear(x, conv_[0]->conv->weight, conv_[0]->conv->bias, true, compute_);
  y = depthwise_conv(y, conv_[1]->conv->weight, conv_[1]->conv->bias,
                     {.stride = 2, .activation = kernels::Activation::relu}, compute_);
  return conv_[2]
      ->norm(linear(y, conv_[2]->conv->weight, conv_[2]->conv->bias, false, compute_))
      .contiguous();
}

}  // namespace spatialmamba::nn
