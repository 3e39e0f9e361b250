#pragma once

#include <array>
#include <cstdint>

#include "base/parallel.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// Structure-aware state fusion: three depthwise 3x3 kernels of dilation 1, 3 and 5, weighted by alpha and
/// summed, over the state map h [N, H, W, C] with replicated borders. As one sparse stencil that is 25 taps,
/// the centre being shared:  s[y, x] = sum_k taps[k] · h[clamp(y + dy_k), clamp(x + dx_k)].
struct SasfTap {
  int dy;
  int dx;
};
inline constexpr int kSasfTaps = 25;
inline constexpr int kSasfReach = 5;  ///< the largest |dy|, |dx|
inline constexpr std::array<int, 3> kSasfDilations = {1, 3, 5};

/// Offsets of the taps: the centre first, then the eight neighbours of each dilation in row-major order.
constexpr std::array<SasfTap, kSasfTaps> sasf_offsets() {
  std::array<SasfTap, kSasfTaps> offsets{};
  int k = 1;
  for (const int dilation : kSasfDilations) {
    for (int i = 0; i < 9; ++i) {
      if (i != 4) offsets[static_cast<std::size_t>(k++)] = {(i / 3 - 1) * dilation, (i % 3 - 1) * dilation};
    }
  }
  return offsets;
}

/// The stencil [25][C] of three kernels [C][3][3] (dilation 1, 3, 5; PyTorch's [C, 1, 3, 3]) and alpha [3].
template <typename T>
void sasf_merge(std::int64_t channels, const std::array<const T*, 3>& kernels, const T* alpha, T* taps);

/// Gradients of sasf_merge: dkernels[i] [C][3][3] and dalpha [3] from dtaps [25][C]; all overwritten.
template <typename T>
void sasf_unmerge(std::int64_t channels, const std::array<const T*, 3>& kernels, const T* alpha,
                  const T* dtaps, const std::array<T*, 3>& dkernels, T* dalpha);

/// The fusion alone (c == nullptr) writes s; with the output equation of the state-space model fused behind
/// it,
///   y_t = s_t · C_t + D · x_t   with one C_t per token and one D per channel.
/// Strides count elements from one token to the next; images follow one another without a gap.
template <typename T>
struct SasfInput {
  std::int64_t images = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  const T* h = nullptr;     ///< [N, H, W, C]
  const T* taps = nullptr;  ///< [25][C] from sasf_merge

  const T* c = nullptr;  ///< [N, H, W] with stride c_stride, or nullptr
  std::int64_t c_stride = 0;
  const T* d = nullptr;  ///< [C]; with c only
  const T* x = nullptr;  ///< [N, H, W, C] with stride x_stride >= C; with c only
  std::int64_t x_stride = 0;
};

/// Writes s, or y when input.c is given, to out [N, H, W, C]. out must not overlap h; it may be x when dense.
template <typename T>
void sasf_forward(const SasfInput<T>& input, T* out, Isa isa, const ParallelFor& parallel);

/// Gradients of sasf_forward; all outputs are overwritten and must not overlap an input.
template <typename T>
struct SasfGradient {
  const T* dout = nullptr;  ///< [N, H, W, C]
  T* dh = nullptr;          ///< [N, H, W, C]
  T* dtaps = nullptr;       ///< [25][C], for sasf_unmerge

  T* dc = nullptr;  ///< [N, H, W] with stride dc_stride; with input.c only, as are the following
  std::int64_t dc_stride = 0;
  T* dd = nullptr;  ///< [C]
  T* dx = nullptr;  ///< [N, H, W, C] with stride dx_stride >= C
  std::int64_t dx_stride = 0;
};

template <typename T>
void sasf_backward(const SasfInput<T>& input, const SasfGradient<T>& gradient, Isa isa,
                   const ParallelFor& parallel);

}  // namespace spatialmamba::kernels
