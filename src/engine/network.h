#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/parallel.h"
#include "kernels/aligned_vector.h"
#include "kernels/depthwise_pixels.h"
#include "kernels/packed_linear.h"
#include "kernels/scan_fusion.h"
#include "kernels/winograd.h"
#include "spatialmamba/architecture.h"
#include "spatialmamba/tensor.h"

namespace spatialmamba::engine {

using kernels::AlignedVector;
using kernels::DepthwiseWeights;
using kernels::PackedLinear;

/// A network ready to run: folded, merged, packed. Plain data.
struct Norm {
  AlignedVector<float> gamma;
  AlignedVector<float> beta;
};

/// StructureAwareSSM between the residual stream's convolutions. A LayerNorm's gain and shift are folded into
/// the layer behind it.
struct StateMixing {
  PackedLinear in_x;  ///< [E, d], the first half of in_proj, ln_1 folded in
  PackedLinear in_z;  ///< [E, d], the second half
  DepthwiseWeights conv;
  PackedLinear x_proj;  ///< [R + 2, E]: low-rank time step, B, C
  kernels::ScanFusionWeights scan_fusion;
  Norm out_norm;
  PackedLinear out_proj;  ///< [d, E]
};

struct Block {
  std::int64_t dim = 0;
  DepthwiseWeights cpe1;  ///< with its residual: 1 is added to the centre tap
  StateMixing mixing;
  DepthwiseWeights cpe2;  ///< with its residual
  PackedLinear fc1;       ///< ln_2 folded in
  PackedLinear fc2;
};

struct Downsampling {
  PackedLinear expand;    ///< [8d, d]
  DepthwiseWeights conv;  ///< stride 2
  PackedLinear reduce;    ///< [next, 8d], BatchNorm folded in
};

/// A dense 3x3 convolution with stride 1 by minimal filtering, see kernels/winograd.h.
struct TileConvolution {
  kernels::WinogradTile tile = kernels::WinogradTile::two;
  std::vector<PackedLinear> places;  ///< [n²] of a transformed tile, [outputs, inputs] each
  AlignedVector<float> bias;         ///< [outputs]
};

/// A dense 3x3 convolution of a map that is enlarged before: channels are mixed first, see
/// kernels/upsampled_taps.h.
struct UpsampledConvolution {
  std::vector<PackedLinear> blocks;  ///< of kTapChannels outputs each: [3][3][outputs of the block]
};
inline constexpr std::int64_t kTapChannels = 32;

/// A dense 3x3 convolution of several maps side by side, all but the first enlarged.
struct JoiningConvolution {
  TileConvolution first;
  std::vector<UpsampledConvolution> others;
};

/// UPerNet's decode head, BatchNorms folded in.
struct UperHead {
  std::vector<std::int64_t> pools;     ///< sides of the pooled maps
  std::vector<PackedLinear> pooled;    ///< [C, d of the last stage] each
  JoiningConvolution bottleneck;       ///< of the last stage's map and the pooled ones
  std::vector<PackedLinear> laterals;  ///< [C, d] of every stage but the last
  std::vector<TileConvolution> fpn;    ///< of every level but the last
  JoiningConvolution fuse;             ///< of all levels
  PackedLinear classifier;             ///< [classes, C]
};

/// What Mask R-CNN adds to a backbone.
struct MaskRcnn {
  std::vector<PackedLinear> laterals;    ///< [C, d] of every stage
  std::vector<TileConvolution> pyramid;  ///< of every level but the last
  TileConvolution rpn;
  PackedLinear rpn_scores;             ///< [shapes, C]
  PackedLinear rpn_deltas;             ///< [4 · shapes, C]
  std::array<PackedLinear, 2> shared;  ///< of the box head; the first reads [7][7][C]
  PackedLinear scores;                 ///< [classes + 1, ...]
  PackedLinear deltas;                 ///< [4 · classes, ...]
  std::vector<TileConvolution> mask;   ///< of the mask head
  PackedLinear upsample;               ///< a 2x2 convolution transposed, stride 2: [2][2][C] of each pixel
  AlignedVector<float> mask_weights;   ///< [classes][C]
  AlignedVector<float> mask_bias;      ///< [classes]
};

struct Stage {
  std::int64_t dim = 0;
  Norm out_norm;  ///< of a backbone
  std::vector<Block> blocks;
  std::vector<Downsampling> downsample;  ///< one, or none behind the last stage
};

/// A dense 3x3 convolution with stride 1 as a linear layer of patches [3][3][C] or by tiles: with the few
/// channels of a stem these save time in fp32 alone, and a detector does without them.
using StemConvolution = std::variant<PackedLinear, TileConvolution>;

/// Dense 3x3 convolutions, BatchNorm folded in. C is padded with zeros to a multiple of kStemAlignment, in
/// the images and between the convolutions.
struct Stem {
  PackedLinear conv1;  ///< stride 2, of patches
  StemConvolution conv2_0;
  StemConvolution conv2_1;  ///< plus the output of conv1
  PackedLinear conv3_0;     ///< stride 2, of patches
  PackedLinear conv3_1;     ///< 1x1
};
inline constexpr std::int64_t kStemAlignment = 4;
constexpr std::int64_t stem_padded(std::int64_t channels) {
  return (channels + kStemAlignment - 1) / kStemAlignment * kStemAlignment;
}

struct Network {
  Architecture architecture;
  kernels::Isa isa = kernels::Isa::scalar;
  Stem stem;
  std::vector<Stage> stages;
  // A classifier has
  Norm norm;
  PackedLinear head;
  // A segmentor has
  std::optional<UperHead> decode_head;
  // A detector has
  std::optional<MaskRcnn> detector;
  std::int64_t num_classes = 0;

  /// Of all packed weights.
  std::int64_t bytes() const;
};

/// A classifier, a segmentor or a detector, told by the tensors. Throws Error listing what is missing,
/// unexpected or mis-shaped.
Network pack_network(const TensorMap& tensors, const std::string& source, kernels::Isa isa,
                     kernels::Multiply multiply, const ParallelFor& parallel);

}  // namespace spatialmamba::engine
