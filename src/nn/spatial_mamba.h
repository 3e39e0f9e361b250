#pragma once

#include <torch/torch.h>

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "nn/block.h"
#include "nn/compute.h"
#include "nn/stem.h"
#include "spatialmamba/architecture.h"

namespace spatialmamba::nn {

struct ModelOptions {
  kernels::Isa isa = kernels::default_isa();
  Precision precision = Precision::full;
  ScanOrder scan = ScanOrder::row;
  Operators operators = Operators::fused;  ///< see Compute
  /// Keeps only the input of each block for backward and runs the block again there: less memory, more time.
  bool checkpoint_blocks = false;
};

/// What the network computes on the way, named as in the state dictionary. Maps are (N, H, W, C).
struct Stages {
  torch::Tensor patch_embed;
  std::vector<std::pair<std::string, torch::Tensor>> blocks;  ///< "layers.0.blocks.1"; on request only
  std::vector<torch::Tensor> layers;                          ///< of each stage, after its downsampling
  torch::Tensor norm;                                         ///< (N, H*W, C)
  torch::Tensor pooled;                                       ///< (N, C)
  torch::Tensor logits;                                       ///< (N, classes)

  /// All of them by name: "patch_embed", "layers.0.blocks.0", …, "layers.0", …, "norm", "pooled", "logits".
  std::vector<std::pair<std::string, torch::Tensor>> named() const;
};

/// The state map of one block before and after structure-aware fusion, (N, H, W, E).
struct BlockStates {
  std::string name;  ///< "layers.0.blocks.1"
  torch::Tensor before;
  torch::Tensor after;
};

/// One stage: its blocks, then (but for the last stage) the downsampling.
class StageImpl : public torch::nn::Module {
 public:
  StageImpl(std::int64_t dim, const std::vector<double>& drop_path_rates, std::int64_t next_dim,
            const ComputePtr& compute);

  std::vector<Block> blocks;
  Downsampling downsample{nullptr};
};
TORCH_MODULE(Stage);

/// The classifier, or the backbone of another task's network. Parameters and buffers carry the reference's
/// names, in the reference's order. Values are not initialised by the constructor: call initialise() or
/// load_weights().
class SpatialMambaImpl : public torch::nn::Module {
 public:
  /// Throws UsageError for an architecture that cannot be built.
  explicit SpatialMambaImpl(Architecture architecture, const ModelOptions& options = {});

  /// images (N, in_channels, H, W) of the parameters' type, any memory format and any size -> logits (N,
  /// classes). Throws Error for another type, rank or channel count.
  torch::Tensor forward(const torch::Tensor& images);
  Stages forward_stages(const torch::Tensor& images, bool with_blocks = false);
  /// For a backbone: the normalised map of each stage, (N, H_i, W_i, dims_i), at 1/4, 1/8, ... of the size.
  std::vector<torch::Tensor> forward_maps(const torch::Tensor& images);
  /// Runs in evaluation mode without gradients, whatever mode the model is in.
  std::vector<BlockStates> record_states(const torch::Tensor& images);

  const Architecture& architecture() const { return architecture_; }
  kernels::Isa isa() const { return compute_->isa; }
  Precision precision() const { return compute_->precision; }
  ScanOrder scan() const { return compute_->scan; }
  Operators operators() const { return compute_->operators; }
  /// What the functions run with, for the heads on a backbone to share.
  const ComputePtr& compute() const { return compute_; }
  void set_precision(Precision precision) { compute_->precision = precision; }
  bool checkpoint_blocks() const { return checkpoint_blocks_; }
  void set_checkpoint_blocks(bool on) { checkpoint_blocks_ = on; }
  /// Where drop path draws from; LibTorch's default generator unless set.
  void set_generator(const at::Generator& generator) { generator_ = generator; }

 private:
  void check(const torch::Tensor& images) const;
  torch::Tensor run_block(const Block& block, const torch::Tensor& x);

  Architecture architecture_;
  bool checkpoint_blocks_;
  ComputePtr compute_;
  std::optional<at::Generator> generator_;

  Stem patch_embed_{nullptr};
  std::vector<Stage> layers_;
  std::vector<Affine> out_norms_;  ///< of a backbone, one per stage
  Affine norm_{nullptr};           ///< of a classifier
  Affine head_{nullptr};
};
TORCH_MODULE(SpatialMamba);

}  // namespace spatialmamba::nn
