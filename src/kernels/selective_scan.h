#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// What the selective scan with one state per channel reads (E channels, L tokens, N images):
///
///   x_t = delta_t + delta_bias,  d_t = softplus(x_t) (x_t itself above 20),  A = -exp(A_log)
///   h_t = exp(d_t A) h_{t-1} + d_t B_t u_t,  h_{-1} = 0
///
/// delta is either given as a tensor, or (delta == nullptr) formed on the way as dt_lowrank · dt_weightᵀ,
/// which saves a tensor of E channels. Strides count elements from one token to the next; images follow one
/// another without a gap, i.e. image n starts at token n·L.
template <typename T>
struct ScanInput {
  std::int64_t images = 0;    ///< N
  std::int64_t length = 0;    ///< L
  std::int64_t channels = 0;  ///< E

  const T* delta = nullptr;       ///< [N, L, E] before bias and softplus, or nullptr
  const T* dt_lowrank = nullptr;  ///< [N, L, R] with stride dt_stride >= R; used when delta is nullptr
  std::int64_t dt_stride = 0;
  const T* dt_weight = nullptr;  ///< [E, R]
  std::int64_t dt_rank = 0;      ///< R

  const T* delta_bias = nullptr;  ///< [E]
  const T* a_log = nullptr;       ///< [E]
  const T* u = nullptr;           ///< [N, L, E] with stride u_stride >= E
  std::int64_t u_stride = 0;
  const T* b = nullptr;  ///< [N, L] with stride b_stride >= 1
  std::int64_t b_stride = 0;
};

/// Writes every state h [N, L, E].
template <typename T>
void selective_scan_forward(const ScanInput<T>& input, T* h, Isa isa, const ParallelFor& parallel);

/// Gradients of selective_scan_forward. All outputs are overwritten (du: see accumulate_du); none may overlap
/// an input, but for ddelta, which may be delta itself.
template <typename T>
struct ScanGradient {
  const T* h = nullptr;   ///< [N, L, E] as the forward pass wrote it
  const T* dh = nullptr;  ///< [N, L, E]

  T* du = nullptr;  ///< [N, L, E] with stride du_stride >= E
  std::int64_t du_stride = 0;
  bool accumulate_du = false;  ///< adds to what du holds, e.g. the gradient of the skip D·x
  T* db = nullptr;             ///< [N, L] with stride db_stride >= 1
  std::int64_t db_stride = 0;
  T* da_log = nullptr;       ///< [E]
  T* ddelta_bias = nullptr;  ///< [E]

  T* ddelta = nullptr;       ///< [N, L, E]; when input.delta is given
  T* ddt_lowrank = nullptr;  ///< [N, L, R] with stride ddt_stride >= R; when it is not
  std::int64_t ddt_stride = 0;
  T* ddt_weight = nullptr;  ///< [E, R]; when it is not
};

template <typename T>
void selective_scan_backward(const ScanInput<T>& input, const ScanGradient<T>& gradient, Isa isa,
                             const ParallelFor& parallel);

}  // namespace spatialmamba::kernels
