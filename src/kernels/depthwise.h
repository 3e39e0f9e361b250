#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

enum class Activation { none, silu, relu };

/// Depthwise 3x3 convolution with zero padding 1 over x [N, H, W, C]:
///   y = activation(conv(x) + bias) [+ x],   y [N, Ho, Wo, C],  Ho = (H - 1) / stride + 1.
/// The weights are [9][C], see depthwise_weights_from_torch.
template <typename T>
struct DepthwiseInput {
  std::int64_t images = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t channels = 0;
  std::int64_t stride = 1;     ///< of the convolution: 1 or 2
  const T* x = nullptr;        ///< [N, H, W, C]
  std::int64_t x_stride = 0;   ///< elements from one token of x to the next, >= C
  const T* weights = nullptr;  ///< [9][C]
  const T* bias = nullptr;     ///< [C], or nullptr
  Activation activation = Activation::none;
  bool residual = false;  ///< adds x; needs stride 1

  std::int64_t out_height() const { return (height - 1) / stride + 1; }
  std::int64_t out_width() const { return (width - 1) / stride + 1; }
};

/// y is dense and must not overlap x.
template <typename T>
void depthwise_forward(const DepthwiseInput<T>& input, T* y, Isa isa, const ParallelFor& parallel);

/// Gradients of depthwise_forward. The pre-activation is computed again. Outputs are overwritten and must not
/// overlap an input.
template <typename T>
struct DepthwiseGradient {
  const T* dy = nullptr;  ///< [N, Ho, Wo, C]
  T* dx = nullptr;        ///< [N, H, W, C] with stride dx_stride >= C
  std::int64_t dx_stride = 0;
  T* dweights = nullptr;  ///< [9][C]
  T* dbias = nullptr;     ///< [C], or nullptr
};

template <typename T>
void depthwise_backward(const DepthwiseInput<T>& input, const DepthwiseGradient<T>& gradient, Isa isa,
                        const ParallelFor& parallel);

/// [C, 1, 3, 3] of PyTorch to [9][C] and back.
template <typename T>
void depthwise_weights_from_torch(std::int64_t channels, const T* torch_weights, T* weights);
template <typename T>
void depthwise_weights_to_torch(std::int64_t channels, const T* weights, T* torch_weights);

}  // namespace spatialmamba::kernels
