#include "nn/detection_heads.h"

#include "nn/functions/linear.h"
#include "nn/functions/maps.h"
#include "spatialmamba/detector.h"

namespace spatialmamba::nn {
namespace {

/// Registers a list of modules under one name: "NAME.0", "NAME.1", ...
template <typename Part>
void register_parts(torch::nn::Module& owner, const std::string& name, const std::vector<Part>& parts) {
  torch::nn::ModuleList list;
  for (const Part& part : parts) list->push_back(part);
  owner.register_module(name, list);
}

Affine convolution(std::int64_t in, std::int64_t out, std::int64_t size) {
  return Affine(std::vector<std::int64_t>{out, in, size, size});
}

/// x (N, H, W, C) enlarged to (N, height, width, C): every value repeated.
torch::Tensor enlarge(const torch::Tensor& x, std::int64_t height, std::int64_t width) {
  return at::upsample_nearest2d(x.permute({0, 3, 1, 2}), {height, width}).permute({0, 2, 3, 1});
}

}  // namespace

PlainConvImpl::PlainConvImpl(std::int64_t in, std::int64_t out, std::int64_t size, ComputePtr compute)
    : compute_(std::move(compute)) {
  conv_ = register_module("conv", convolution(in, out, size));
}

torch::Tensor PlainConvImpl::forward(const torch::Tensor& x) {
  if (conv_->weight.size(2) == 1) return linear(x, conv_->weight, conv_->bias, false, compute_);
  return dense_conv(x, conv_->weight, conv_->bias);
}

FeaturePyramidImpl::FeaturePyramidImpl(const std::vector<std::int64_t>& dims, std::int64_t channels,
                                       const ComputePtr& compute) {
  for (const std::int64_t dim : dims) {
    laterals_.emplace_back(dim, channels, 1, compute);
    outputs_.emplace_back(channels, channels, 3, compute);
  }
  register_parts(*this, "lateral_convs", laterals_);
  register_parts(*this, "fpn_convs", outputs_);
}

std::vector<torch::Tensor> FeaturePyramidImpl::forward(const std::vector<torch::Tensor>& maps) {
  std::vector<torch::Tensor> levels;
  for (std::size_t i = 0; i < maps.size(); ++i) levels.push_back(laterals_[i](maps[i]));
  for (std::size_t i = levels.size() - 1; i > 0; --i) {
    levels[i - 1] = levels[i - 1] + enlarge(levels[i], levels[i - 1].size(1), levels[i - 1].size(2));
  }
  for (std::size_t i = 0; i < levels.size(); ++i) levels[i] = outputs_[i](levels[i]);
  using torch::indexing::None;
  using torch::indexing::Slice;
  levels.push_back(levels.back().index({Slice(), Slice(None, None, 2), Slice(None, None, 2)}).contiguous());
  return levels;
}

RpnHeadImpl::RpnHeadImpl(std::int64_t channels, std::int64_t hidden, std::int64_t shapes, ComputePtr compute)
    : compute_(std::move(compute)) {
  rpn_conv_ = register_module("rpn_conv", convolution(channels, hidden, 3));
  rpn_cls_ = register_module("rpn_cls", convolution(hidden, shapes, 1));
  rpn_reg_ = register_module("rpn_reg", convolution(hidden, 4 * shapes, 1));
}

RpnMap RpnHeadImpl::forward(const torch::Tensor& x) {
  const torch::Tensor hidden = torch::relu(dense_conv(x, rpn_conv_->weight, rpn_conv_->bias));
  return {linear(hidden, rpn_cls_->weight, rpn_cls_->bias, false, compute_),
          linear(hidden, rpn_reg_->weight, rpn_reg_->bias, false, compute_)};
}

BoxHeadImpl::BoxHeadImpl(std::int64_t channels, std::int64_t hidden, std::int64_t classes, ComputePtr compute)
    : compute_(std::move(compute)) {
  const auto layer = [](std::int64_t in, std::int64_t out) {
    return Affine(std::vector<std::int64_t>{out, in});
  };
  fc_cls_ = register_module("fc_cls", layer(hidden, classes + 1));
  fc_reg_ = register_module("fc_reg", layer(hidden, 4 * classes));
  shared_fcs_ = {layer(kBoxBins * kBoxBins * channels, hidden), layer(hidden, hidden)};
  register_parts(*this, "shared_fcs", shared_fcs_);
}

BoxAnswer BoxHeadImpl::forward(const torch::Tensor& x) {
  // The weights expect channels, rows, columns.
  torch::Tensor y = x.permute({0, 3, 1, 2}).flatten(1);
  for (const Affine& layer : shared_fcs_) y = linear(y, layer->weight, layer->bias, true, compute_);
  return {linear(y, fc_cls_->weight, fc_cls_->bias, false, compute_),
          linear(y, fc_reg_->weight, fc_reg_->bias, false, compute_)};
}

MaskHeadImpl::MaskHeadImpl(std::int64_t channels, std::int64_t hidden, std::int64_t classes,
                           const ComputePtr& compute)
    : compute_(compute) {
  for (std::int64_t i = 0; i < kMaskConvolutions; ++i)
    convs_.emplace_back(i == 0 ? channels : hidden, hidden, 3, compute);
  register_parts(*this, "convs", convs_);
  upsample_ = register_module("upsample", convolution(hidden, hidden, 2));
  conv_logits_ = register_module("conv_logits", convolution(hidden, classes, 1));
}

torch::Tensor MaskHeadImpl::forward(const torch::Tensor& x) {
  torch::Tensor y = x;
  for (PlainConv& conv : convs_) y = torch::relu(conv(y));
  y = at::conv_transpose2d(y.permute({0, 3, 1, 2}), upsample_->weight, upsample_->bias, 2)
          .permute({0, 2, 3, 1});
  return linear(torch::relu(y), conv_logits_->weight, conv_logits_->bias, false, compute_);
}

}  // namespace spatialmamba::nn
