#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// Layer normalisation over the last dimension of x [rows, C], optionally gated:
///   xhat = (x - mean) · rstd,  rstd = 1 / sqrt(var + eps) (population variance)
///   y = (xhat · gamma + beta) [· silu(z)]
template <typename T>
struct LayerNormInput {
  std::int64_t rows = 0;
  std::int64_t channels = 0;
  const T* x = nullptr;      ///< [rows, C], dense
  const T* gamma = nullptr;  ///< [C]
  const T* beta = nullptr;   ///< [C]
  double epsilon = 1e-5;
  const T* z = nullptr;  ///< [rows, C] with row stride z_stride >= C, or nullptr: no gate
  std::int64_t z_stride = 0;
};

/// Writes y [rows, C] (which may be x) and, unless nullptr, mean [rows] and rstd [rows] for the backward
/// pass.
template <typename T>
void layer_norm_forward(const LayerNormInput<T>& input, T* y, T* mean, T* rstd, Isa isa,
                        const ParallelFor& parallel);

/// Gradients of layer_norm_forward; all outputs are overwritten. dx may be dy, dz may be z.
template <typename T>
struct LayerNormGradient {
  const T* mean = nullptr;  ///< [rows] as the forward pass wrote it
  const T* rstd = nullptr;  ///< [rows]
  const T* dy = nullptr;    ///< [rows, C]
  T* dx = nullptr;          ///< [rows, C]
  T* dgamma = nullptr;      ///< [C]
  T* dbeta = nullptr;       ///< [C]
  T* dz = nullptr;          ///< [rows, C] with row stride dz_stride; with input.z only
  std::int64_t dz_stride = 0;
};

template <typename T>
void layer_norm_backward(const LayerNormInput<T>& input, const LayerNormGradient<T>& gradient, Isa isa,
                         const ParallelFor& parallel);

}  // namespace spatialmamba::kernels
