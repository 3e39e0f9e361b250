#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// Functions of n contiguous numbers; y may be x. The errors of exp, softplus and erf are at most 3 units in
/// the last place of the result in either precision, over the whole range: denormal results, infinities and
/// NaN included. The activations and their derivatives are right to 4 epsilon, relative to max(1, |result|).

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
