#include "nn/segmentation_heads.h"

#include "nn/functions/linear.h"
#include "nn/functions/maps.h"

namespace spatialmamba::nn {
namespace {

/// Registers a list of modules under one name: "NAME.0", "NAME.1", ...
void register_list(torch::nn::Module& owner, const std::string& name, const std::vector<ConvBn>& parts) {
  torch::nn::ModuleList list;
  for (const ConvBn& part : parts) list->push_back(part);
  owner.register_module(name, list);
}

/// The reference keeps each pooling and its convolution in a sequence: the convolution is number 1.
torch::nn::ModuleDict behind_pooling(const ConvBn& part) {
  torch::nn::ModuleDict sequence;
  sequence->update(
      std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>>{{"1", part.ptr()}});
  return sequence;
}

}  // namespace

ClassifierImpl::ClassifierImpl(std::int64_t channels, std::int64_t classes, ComputePtr compute)
    : compute_(std::move(compute)) {
  weight = register_parameter("weight", torch::empty({classes, channels, 1, 1}));
  bias = register_parameter("bias", torch::empty({classes}));
}

torch::Tensor ClassifierImpl::forward(const torch::Tensor& x, double dropout,
                                      const std::optional<at::Generator>& generator) {
  if (!is_training() || dropout <= 0.0) return linear(x, weight, bias, false, compute_);
  const double keep = 1.0 - dropout;
  const torch::Tensor kept = torch::empty({x.size(0), 1, 1, x.size(3)}, x.options().requires_grad(false));
  kept.bernoulli_(keep, generator).div_(keep);
  return linear(x * kept, weight, bias, false, compute_);
}

UperHeadImpl::UperHeadImpl(const std::vector<std::int64_t>& in_channels,
                           const std::vector<std::int64_t>& pools, std::int64_t channels,
                           std::int64_t classes, const ComputePtr& compute)
    : pools_(pools) {
  conv_seg_ = register_module("conv_seg", Classifier(channels, classes, compute));
  const std::int64_t last = in_channels.back();
  torch::nn::ModuleList branches;
  for (std::size_t i = 0; i < pools.size(); ++i) {
    psp_.emplace_back(last, channels, 1, compute);
    branches->push_back(behind_pooling(psp_.back()));
  }
  register_module("psp_modules", branches);
  const auto pooled = static_cast<std::int64_t>(pools.size()) * channels;
  bottleneck_ = register_module("bottleneck", ConvBn(last + pooled, channels, 3, compute));
  for (std::size_t i = 0; i + 1 < in_channels.size(); ++i) {
    laterals_.emplace_back(in_channels[i], channels, 1, compute);
    fpn_.emplace_back(channels, channels, 3, compute);
  }
  register_list(*this, "lateral_convs", laterals_);
  register_list(*this, "fpn_convs", fpn_);
  const auto levels = static_cast<std::int64_t>(in_channels.size());
  fpn_bottleneck_ = register_module("fpn_bottleneck", ConvBn(levels * channels, channels, 3, compute));
}

torch::Tensor UperHeadImpl::pyramid(const torch::Tensor& x, UperMaps& out) {
  std::vector<torch::Tensor> parts{x};
  for (std::size_t i = 0; i < pools_.size(); ++i) {
    out.pooled.push_back(resize_map(psp_[i](pool_map(x, pools_[i])), x.size(1), x.size(2)));
    parts.push_back(out.pooled.back());
  }
  return bottleneck_(torch::cat(parts, 3));
}

UperMaps UperHeadImpl::forward(const std::vector<torch::Tensor>& maps) {
  UperMaps out;
  out.psp = pyramid(maps.back(), out);
  std::vector<torch::Tensor> levels;
  for (std::size_t i = 0; i < laterals_.size(); ++i) levels.push_back(laterals_[i](maps[i]));
  levels.push_back(out.psp);
  for (std::size_t i = levels.size() - 1; i > 0; --i) {  // top down, before any of them is convolved
    levels[i - 1] = levels[i - 1] + resize_map(levels[i], levels[i - 1].size(1), levels[i - 1].size(2));
  }
  for (std::size_t i = 0; i < fpn_.size(); ++i) levels[i] = fpn_[i](levels[i]);
  for (std::size_t i = 1; i < levels.size(); ++i) {
    levels[i] = resize_map(levels[i], levels[0].size(1), levels[0].size(2));
  }
  out.fused = fpn_bottleneck_(torch::cat(levels, 3));
  out.logits = conv_seg_(out.fused, dropout_, generator_);
  return out;
}

FcnHeadImpl::FcnHeadImpl(std::int64_t in_channels, std::int64_t channels, std::int64_t classes,
                         const ComputePtr& compute) {
  conv_seg_ = register_module("conv_seg", Classifier(channels, classes, compute));
  conv_ = ConvBn(in_channels, channels, 3, compute);
  register_list(*this, "convs", {conv_});
}

torch::Tensor FcnHeadImpl::forward(const torch::Tensor& x) {
  return conv_seg_(conv_(x), dropout_, generator_);
}

}  // namespace spatialmamba::nn
