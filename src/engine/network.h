#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/aligned_vector.h"
#include "kernels/packed_linear.h"
#include "kernels/scan_fusion.h"
#include "spatialmamba/architecture.h"
#include "spatialmamba/tensor.h"

namespace spatialmamba::engine {

using kernels::AlignedVector;
using kernels::PackedLinear;

/// A network ready to run: folded, merged, packed. Plain data.
struct Norm {
  AlignedVector<float> gamma;
  AlignedVector<float> beta;
};

struct Depthwise {
  std::int64_t channels = 0;
  AlignedVector<float> weights;  ///< [9][C]
  AlignedVector<float> bias;     ///< [C]
};

/// StructureAwareSSM.
struct StateMixing {
  PackedLinear in_proj;  ///< [2E, d]
  Depthwise conv;
  PackedLinear x_proj;  ///< [R + 2, E]: low-rank time step, B, C
  kernels::ScanFusionWeights scan_fusion;
  Norm out_norm;
  PackedLinear out_proj;  ///< [d, E]
};

struct Block {
  std::int64_t dim = 0;
  Depthwise cpe1;
  Norm ln_1;
  StateMixing mixing;
  Depthwise cpe2;
  Norm ln_2;
  PackedLinear fc1;
  PackedLinear fc2;
};

struct Downsampling {
  PackedLinear expand;  ///< [8d, d]
  Depthwise conv;       ///< stride 2
  PackedLinear reduce;  ///< [next, 8d], BatchNorm folded
};

struct Stage {
  std::int64_t dim = 0;
  std::vector<Block> blocks;
  std::vector<Downsampling> downsample;  ///< one, or none behind the last stage
};

/// Dense 3x3 convolutions as linear layers of patches [3][3][C], BatchNorm folded.
struct Stem {
  PackedLinear conv1;    ///< stride 2
  PackedLinear conv2_0;  ///< stride 1
  PackedLinear conv2_1;  ///< stride 1, plus the output of conv1
  PackedLinear conv3_0;  ///< stride 2
  PackedLinear conv3_1;  ///< 1x1
};

struct Network {
  Architecture architecture;
  kernels::Isa isa = kernels::Isa::scalar;
  Stem stem;
  std::vector<Stage> stages;
  Norm norm;
  PackedLinear head;

  /// Of all packed weights.
  std::int64_t bytes() const;
};

/// Throws Error listing what is missing, unexpected or mis-shaped.
Network pack_network(const TensorMap& tensors, const std::string& source, kernels::Isa isa,
                     kernels::Multiply multiply);

}  // namespace spatialmamba::engine
