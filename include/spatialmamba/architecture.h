#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "spatialmamba/tensor.h"

namespace spatialmamba {

/// The shape of a Spatial-Mamba network: everything that decides parameter names and shapes.
struct Architecture {
  std::string variant;               ///< "tiny", "small", "base", "micro", or "custom"
  std::vector<std::int64_t> dims;    ///< channels of each stage
  std::vector<std::int64_t> depths;  ///< blocks of each stage
  std::int64_t in_channels = 3;
  std::int64_t num_classes = 1000;
  double drop_path_rate = 0.0;  ///< of the last block; grows linearly from 0
  double mesa = 0.0;            ///< weight of the MESA loss in this variant's recipe
  /// A feature extractor for other tasks: `outnorm0` ... on the map of every stage (before its downsampling)
  /// in place of `norm` and `head`.
  bool backbone = false;

  std::int64_t stages() const { return static_cast<std::int64_t>(dims.size()); }
};

inline constexpr std::int64_t kMaxStages = 8;
inline constexpr std::int64_t kExpand = 2;       ///< inner channels of the SSM: E = kExpand * d
inline constexpr std::int64_t kMlpRatio = 4;     ///< hidden channels of the MLP
inline constexpr std::int64_t kPatchStride = 4;  ///< of the stem
inline constexpr double kNormEpsilon = 1e-5;     ///< LayerNorm and BatchNorm
inline constexpr double kBatchNormMomentum = 0.1;

/// Rank of the time step projection of a block with `dim` channels: ceil(dim / 16).
constexpr std::int64_t dt_rank(std::int64_t dim) {
  return (dim + 15) / 16;
}

/// Throws UsageError where an architecture cannot mean anything: no stage, an odd first width, sizes out of
/// range. Everything below that takes an Architecture checks it.
void validate(const Architecture& architecture);

/// Names of the built-in variants, smallest first.
std::vector<std::string> variant_names();

/// A built-in variant with 1000 classes and 3 input channels. Throws UsageError listing the known ones.
Architecture architecture_of(std::string_view variant);

/// Drop path rate of each block, first to last over all stages: linear from 0, in the reference's single
/// precision.
std::vector<double> drop_path_rates(const Architecture& architecture);

/// One tensor of the state dictionary.
struct TensorSpec {
  std::string name;  ///< the reference's own name
  Shape shape;
  bool trainable;  ///< false: a BatchNorm buffer
  DType dtype;     ///< i64 for num_batches_tracked, else f32
};

/// The whole state dictionary in PyTorch's order: the reference's named_parameters(), each module's buffers
/// after its parameters.
std::vector<TensorSpec> tensor_specs(const Architecture& architecture);

/// Reads dims, depths, classes and input channels off names and shapes; the variant's name and rates where
/// dims and depths match one, else "custom". Throws Error naming the first tensor that does not fit. Looks at
/// no more tensors than it needs: compare() says whether the rest fits too.
Architecture infer_architecture(const TensorMap& tensors);

/// How a state dictionary differs from what an architecture expects.
struct WeightsMismatch {
  std::vector<std::string> missing;
  std::vector<std::string> unexpected;
  std::vector<std::string> misshaped;  ///< "NAME has shape [64], model tiny expects [96]"

  bool empty() const { return missing.empty() && unexpected.empty() && misshaped.empty(); }
  /// All three lists in full, several lines.
  std::string describe() const;
};

WeightsMismatch compare(const Architecture& architecture, const TensorMap& tensors);

/// infer_architecture() of tensors that must then fit it as a whole. Throws Error with `source` in front and
/// the full lists of compare().
Architecture require_architecture(const TensorMap& tensors, const std::string& source);

/// Elements of all trainable tensors, and of all others.
std::int64_t count_parameters(const Architecture& architecture);
std::int64_t count_buffers(const Architecture& architecture);

/// One layer of a forward pass over one image. FLOPs by the reference's rule: multiply-accumulates of
/// convolutions, linear layers and products; 5 per normalised element; 7 per scan element; the fusion as
/// three 3x3 depthwise convolutions; activations, sums and pooling not counted.
struct LayerCost {
  std::string name;  ///< e.g. "layers.0.blocks.1.self_attention.in_proj"
  std::string
      operation;  ///< "conv", "batch_norm", "layer_norm", "linear", "matmul", "selective_scan", "skip"
  Shape output;   ///< (H, W, C)
  std::int64_t parameters;
  std::int64_t flops;
};

/// In the order of computation.
std::vector<LayerCost> layer_costs(const Architecture& architecture, std::int64_t height, std::int64_t width);
std::int64_t count_flops(const Architecture& architecture, std::int64_t height, std::int64_t width);

}  // namespace spatialmamba
