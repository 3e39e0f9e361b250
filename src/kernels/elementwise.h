#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// Functions of n contiguous numbers; y may be x. Error bounds are in units in the last place (ulp) of the
/// result over the whole range; infinities and NaN give what the C library gives, denormal results are exact
/// to the same absolute error.

/// e^x.
template <typename T>
void exp(std::int64_t n, const T* x, T* y, Isa isa, const ParallelFor& parallel);
/// log(1 + e^x), x itself above 20 (PyTorch's threshold).
template <typename T>
void softplus(std::int64_t n, const T* x, T* y, Isa isa, const ParallelFor& parallel);
template <typename T>
void erf(std::int64_t n, const T* x, T* y, Isa isa, const ParallelFor& parallel);
/// x / (1 + e^-x).
template <typename T>
void silu(std::int64_t n, const T* x, T* y, Isa isa, const ParallelFor& parallel);
/// dx = dy · silu'(x); dx may be dy or x.
template <typename T>
void silu_backward(std::int64_t n, const T* x, const T* dy, T* dx, Isa isa, const ParallelFor& parallel);
/// The exact GELU, x · Phi(x) with the normal distribution function Phi.
template <typename T>
void gelu(std::int64_t n, const T* x, T* y, Isa isa, const ParallelFor& parallel);
/// dx = dy · gelu'(x); dx may be dy or x.
template <typename T>
void gelu_backward(std::int64_t n, const T* x, const T* dy, T* dx, Isa isa, const ParallelFor& parallel);

/// y = gelu(x + bias) for x [rows, C] and bias [C]; y may be x.
template <typename T>
void bias_gelu(std::int64_t rows, std::int64_t channels, const T* x, const T* bias, T* y, Isa isa,
               const ParallelFor& parallel);
/// dx = dy · gelu'(x + bias) and dbias = the sum of dx over the rows; dx may be dy or x.
template <typename T>
void bias_gelu_backward(std::int64_t rows, std::int64_t channels, const T* x, const T* bias, const T* dy,
                        T* dx, T* dbias, Isa isa, const ParallelFor& parallel);

}  // namespace spatialmamba::kernels
