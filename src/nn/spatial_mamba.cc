#include "nn/spatial_mamba.h"

#include "base/error.h"
#include "nn/functions/checkpoint.h"
#include "nn/functions/layer_norm.h"
#include "nn/functions/linear.h"

namespace spatialmamba::nn {

std::vector<std::pair<std::string, torch::Tensor>> Stages::named() const {
  std::vector<std::pair<std::string, torch::Tensor>> tensors{{"patch_embed", patch_embed}};
  tensors.insert(tensors.end(), blocks.begin(), blocks.end());
  for (std::size_t i = 0; i < layers.size(); ++i)
    tensors.emplace_back(fmt::format("layers.{}", i), layers[i]);
  tensors.emplace_back("norm", norm);
  tensors.emplace_back("pooled", pooled);
  tensors.emplace_back("logits", logits);
  return tensors;
}

StageImpl::StageImpl(std::int64_t dim, const std::vector<double>& drop_path_rates, std::int64_t next_dim,
                     const ComputePtr& compute) {
  torch::nn::ModuleList list;
  for (const double rate : drop_path_rates) {
    blocks.emplace_back(dim, rate, compute);
    list->push_back(blocks.back());
  }
  register_module("blocks", list);
  if (next_dim > 0) downsample = register_module("downsample", Downsampling(dim, next_dim, compute));
}

SpatialMambaImpl::SpatialMambaImpl(Architecture architecture, const ModelOptions& options)
    : architecture_(std::move(architecture)),
      checkpoint_blocks_(options.checkpoint_blocks),
      compute_(std::make_shared<Compute>()) {
  validate(architecture_);
  compute_->isa = options.isa;
  compute_->precision = options.precision;
  compute_->scan = options.scan;
  compute_->operators = options.operators;

  const std::vector<std::int64_t>& dims = architecture_.dims;
  patch_embed_ = register_module("patch_embed", Stem(architecture_.in_channels, dims[0], compute_));
  const std::vector<double> rates = drop_path_rates(architecture_);
  auto rate = rates.begin();
  torch::nn::ModuleList list;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const auto next_rate = rate + architecture_.depths[i];
    const std::int64_t next_dim = i + 1 < dims.size() ? dims[i + 1] : 0;
    layers_.emplace_back(dims[i], std::vector<double>(rate, next_rate), next_dim, compute_);
    list->push_back(layers_.back());
    rate = next_rate;
  }
  register_module("layers", list);
  if (architecture_.backbone) {
    for (std::size_t i = 0; i < dims.size(); ++i) {
      out_norms_.push_back(
          register_module(fmt::format("outnorm{}", i), Affine(std::vector<std::int64_t>{dims[i]})));
    }
    return;
  }
  norm_ = register_module("norm", Affine(std::vector<std::int64_t>{dims.back()}));
  head_ = register_module("head", Affine(std::vector<std::int64_t>{architecture_.num_classes, dims.back()}));
}

torch::Tensor SpatialMambaImpl::forward(const torch::Tensor& images) {
  return forward_stages(images).logits;
}

Stages SpatialMambaImpl::forward_stages(const torch::Tensor& images, bool with_blocks) {
  check(images);
  Stages stages;
  stages.patch_embed = patch_embed_(images);
  torch::Tensor x = stages.patch_embed;
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const std::vector<Block>& blocks = layers_[i]->blocks;
    for (std::size_t j = 0; j < blocks.size(); ++j) {
      x = run_block(blocks[j], x);
      if (with_blocks) stages.blocks.emplace_back(fmt::format("layers.{}.blocks.{}", i, j), x);
    }
    if (layers_[i]->downsample) x = layers_[i]->downsample(x);
    stages.layers.push_back(x);
  }
  stages.norm = layer_norm(x, norm_->weight, norm_->bias, compute_).flatten(1, 2);
  stages.pooled = stages.norm.mean(1);
  stages.logits = linear(stages.pooled, head_->weight, head_->bias, false, compute_);
  return stages;
}

std::vector<torch::Tensor> SpatialMambaImpl::forward_maps(const torch::Tensor& images) {
  check(images);
  std::vector<torch::Tensor> maps;
  torch::Tensor x = patch_embed_(images);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    for (const Block& block : layers_[i]->blocks) x = run_block(block, x);
    maps.push_back(layer_norm(x, out_norms_[i]->weight, out_norms_[i]->bias, compute_));
    if (layers_[i]->downsample) x = layers_[i]->downsample(x);
  }
  return maps;
}

torch::Tensor SpatialMambaImpl::run_block(const Block& block, const torch::Tensor& x) {
  const BlockImpl::DropPath drop_path = block->draw_drop_path(x.size(0), generator_);
  if (!checkpoint_blocks_ || !torch::GradMode::is_enabled()) return block->forward(x, drop_path);
  return checkpoint(
      [block, drop_path](const torch::Tensor& input) { return block->forward(input, drop_path); }, x,
      block->parameters());
}

std::vector<BlockStates> SpatialMambaImpl::record_states(const torch::Tensor& images) {
  check(images);
  const torch::NoGradGuard no_grad;
  const bool was_training = is_training();
  eval();
  std::vector<BlockStates> record;
  torch::Tensor x = patch_embed_(images);
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const std::vector<Block>& blocks = layers_[i]->blocks;
    for (std::size_t j = 0; j < blocks.size(); ++j) {
      FusionStates states;
      x = blocks[j]->forward(x, {}, &states);
      record.push_back({fmt::format("layers.{}.blocks.{}", i, j), states.before, states.after});
    }
    if (layers_[i]->downsample) x = layers_[i]->downsample(x);
  }
  train(was_training);
  return record;
}

void SpatialMambaImpl::check(const torch::Tensor& images) const {
  if (images.dim() != 4 || images.size(1) != architecture_.in_channels) {
    fail("the model expects images of shape (N, {}, H, W), got {}", architecture_.in_channels,
         to_string(Shape(images.sizes().begin(), images.sizes().end())));
  }
  const torch::ScalarType type = (architecture_.backbone ? out_norms_[0] : norm_)->weight.scalar_type();
  if (images.scalar_type() != type) {
    fail("the model computes in {}, the images are {}", c10::toString(type),
         c10::toString(images.scalar_type()));
  }
  if (images.numel() == 0) fail("the model got an empty batch of images");
}

}  // namespace spatialmamba::nn
