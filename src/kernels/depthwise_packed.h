#pragma once

#include "base/parallel.h"
#include "kernels/depthwise.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// depthwise_forward and depthwise_backward at stride 1, on packed channels.
template <typename T>
void depthwise_forward_packed(const DepthwiseInput<T>& input, T* y, Isa isa, const ParallelFor& parallel);
template <typename T>
void depthwise_backward_packed(const DepthwiseInput<T>& input, const DepthwiseGradient<T>& gradient, Isa isa,
                               const ParallelFor& parallel);

}  // namespace spatialmamba::kernels
