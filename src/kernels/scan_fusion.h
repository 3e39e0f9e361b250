#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/channel_blocks.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// What the inner part of a StructureAwareSSM knows of its E channels, R being the rank of the time step.
struct ScanFusionWeights {
  std::int64_t channels = 0;
  std::int64_t rank = 0;
  ChannelBlocks dt_weights;      ///< R numbers a channel
  ChannelBlocks taps;            ///< 25 numbers a channel, see sasf.h
  AlignedVector<float> dt_bias;  ///< [E]
  AlignedVector<float> rate;     ///< [E], A log2(e) with A = -exp(A_log)
  AlignedVector<float> skip;     ///< [E], D
};

/// Selective scan, state fusion and output equation in one pass, in which the states never leave the cache:
///   d_t = softplus(dt_lowrank_t · dt_weights + dt_bias),  h_t = exp(d_t A) h_{t-1} + d_t B_t x_t
///   y_t = C_t · (sum over the 25 taps of h around t) + D x_t
struct ScanFusionInput {
  std::int64_t images = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  const float* projected = nullptr;  ///< [N, H, W, R + 2], dense: dt_lowrank, B, C
  const float* x = nullptr;          ///< [N, H, W, E], dense
};

/// Writes y [N, H, W, E], dense, which must not overlap an input.
void scan_fusion(const ScanFusionWeights& weights, const ScanFusionInput& input, float* y,
                 GemmScratch& scratch, Isa isa, const ParallelFor& parallel);

}  // namespace spatialmamba::kernels
