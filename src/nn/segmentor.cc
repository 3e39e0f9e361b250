#include "nn/segmentor.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "base/error.h"
#include "nn/functions/maps.h"
#include "nn/initialise.h"

namespace spatialmamba::nn {
namespace {

constexpr double kClassifierStd = 0.01;

void fill_head_tensor(const std::string& name, torch::Tensor tensor, const at::Generator& generator) {
  if (name.ends_with("conv_seg.weight")) {
    tensor.normal_(0.0, kClassifierStd, generator);
  } else if (tensor.dim() == 4) {
    const auto fan_out = static_cast<double>(tensor.size(0) * tensor.size(2) * tensor.size(3));
    tensor.normal_(0.0, std::sqrt(2.0 / fan_out), generator);
  } else if (name.ends_with("bn.weight") || name.ends_with("running_var")) {
    tensor.fill_(1);
  } else {
    tensor.zero_();
  }
}

void fill_head(torch::nn::Module& head, const at::Generator& generator) {
  for (auto& entry : head.named_parameters()) fill_head_tensor(entry.key(), entry.value(), generator);
  for (auto& entry : head.named_buffers()) fill_head_tensor(entry.key(), entry.value(), generator);
}

}  // namespace

std::vector<std::pair<std::string, torch::Tensor>> SegmentorMaps::named() const {
  std::vector<std::pair<std::string, torch::Tensor>> maps;
  for (std::size_t i = 0; i < backbone.size(); ++i) {
    maps.emplace_back(fmt::format("backbone.{}", i), backbone[i]);
  }
  maps.emplace_back("psp", decode.psp);
  maps.emplace_back("fused", decode.fused);
  maps.emplace_back("decode_logits_stride4", decode.logits);
  if (auxiliary.defined()) maps.emplace_back("aux_logits_stride16", auxiliary);
  for (auto& [name, map] : maps) map = map.permute({0, 3, 1, 2});
  return maps;
}

SegmentorImpl::SegmentorImpl(SegmentorArchitecture architecture, const ModelOptions& options)
    : architecture_(std::move(architecture)) {
  validate(architecture_);
  backbone_ = register_module("backbone", SpatialMamba(architecture_.backbone, options));
  const ComputePtr& compute = backbone_->compute();
  const std::vector<std::int64_t>& dims = architecture_.backbone.dims;
  decode_head_ = register_module("decode_head", UperHead(dims, architecture_.pools, architecture_.channels,
                                                         architecture_.num_classes, compute));
  if (architecture_.auxiliary_channels > 0) {
    const std::int64_t dim = dims[static_cast<std::size_t>(architecture_.auxiliary_level)];
    auxiliary_head_ = register_module(
        "auxiliary_head", FcnHead(dim, architecture_.auxiliary_channels, architecture_.num_classes, compute));
  }
}

torch::Tensor SegmentorImpl::forward(const torch::Tensor& images) {
  const torch::Tensor logits = forward_maps(images).decode.logits;
  return resize_map(logits, images.size(2), images.size(3)).permute({0, 3, 1, 2});
}

SegmentorMaps SegmentorImpl::forward_maps(const torch::Tensor& images, bool with_auxiliary) {
  SegmentorMaps maps;
  maps.backbone = backbone_->forward_maps(images);
  maps.decode = decode_head_(maps.backbone);
  if (with_auxiliary && auxiliary_head_) {
    maps.auxiliary = auxiliary_head_(maps.backbone[static_cast<std::size_t>(architecture_.auxiliary_level)]);
  }
  return maps;
}

void SegmentorImpl::set_generator(const at::Generator& generator) {
  backbone_->set_generator(generator);
  decode_head_->set_generator(generator);
  if (auxiliary_head_) auxiliary_head_->set_generator(generator);
}

void SegmentorImpl::set_dropout(double dropout) {
  decode_head_->set_dropout(dropout);
  if (auxiliary_head_) auxiliary_head_->set_dropout(dropout);
}

void initialise(SegmentorImpl& model, std::uint64_t seed) {
  initialise(*model.backbone(), seed);
  const torch::NoGradGuard no_grad;
  // A stream of its own, whatever the backbone drew.
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed + 1);
  for (const auto& child : model.named_children()) {
    if (child.key() != "backbone") fill_head(*child.value(), generator);
  }
}

}  // namespace spatialmamba::nn
