#include "kernels/elementwise.h"

#include "kernels/partial_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/elementwise.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

template <typename T>
void exp_range(const T* x, T* y, RowRange range) {
  for_vectors<T>(range.begin, range.end, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(exp_full(d, hn::LoadU(d, x + i)), d, y + i);
  });
}

template <typename T>
void softplus_range(const T* x, T* y, RowRange range) {
  for_vectors<T>(range.begin, range.end, [&](auto d, std::int64_t i) HWY_ATTR {
    const auto v = hn::LoadU(d, x + i);
    const auto value = softplus_of(d, v, exp_full(d, hn::Neg(hn::Abs(v))));
    hn::StoreU(hn::IfThenElse(hn::IsNaN(v), v, value), d, y + i);
  });
}

template <typename T>
void erf_range(const T* x, T* y, RowRange range) {
  for_vectors<T>(range.begin, range.end,
                 [&](auto d, std::int64_t i) HWY_ATTR { hn::StoreU(erf(d, hn::LoadU(d, x + i)), d, y + i); });
}

template <typename T>
void silu_range(const T* x, T* y, RowRange range) {
  for_vectors<T>(range.begin, range.end, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(silu(d, hn::LoadU(d, x + i)), d, y + i);
  });
}

template <typename T>
void silu_backward_range(const T* x, const T* dy, T* dx, RowRange range) {
  for_vectors<T>(range.begin, range.end, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, dy + i), silu_with_slope(d, hn::LoadU(d, x + i)).slope), d, dx + i);
  });
}

template <typename T>
void gelu_range(const T* x, T* y, RowRange range) {
  for_vectors<T>(range.begin, range.end, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(gelu(d, hn::LoadU(d, x + i)), d, y + i);
  });
}

template <typename T>
void gelu_backward_range(const T* x, const T* dy, T* dx, RowRange range) {
  for_vectors<T>(range.begin, range.end, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(hn::Mul(hn::LoadU(d, dy + i), gelu_slope(d, hn::LoadU(d, x + i))), d, dx + i);
  });
}

template <typename T>
void bias_gelu_rows(std::int64_t channels, const T* x, const T* bias, T* y, RowRange rows) {
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const T* from = x + row * channels;
    T* to = y + row * channels;
    for_vectors<T>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
      hn::StoreU(gelu(d, hn::Add(hn::LoadU(d, from + c), hn::LoadU(d, bias + c))), d, to + c);
    });
  }
}

// Adds to dbias.
template <typename T>
void bias_gelu_backward_rows(std::int64_t channels, const T* x, const T* bias, const T* dy, T* dx, T* dbias,
                             RowRange rows) {
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const std::int64_t first = row * channels;
    for_vectors<T>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
      const auto v = hn::Add(hn::LoadU(d, x + first + c), hn::LoadU(d, bias + c));
      const auto g = hn::Mul(hn::LoadU(d, dy + first + c), gelu_slope(d, v));
      hn::StoreU(g, d, dx + first + c);
      hn::StoreU(hn::Add(g, hn::LoadU(d, dbias + c)), d, dbias + c);
    });
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

constexpr std::int64_t kGrain = 8192;  // numbers

template <typename T>
using Unary = void (*)(const T*, T*, RowRange);
template <typename T>
using Backward = void (*)(const T*, const T*, T*, RowRange);

template <typename T>
void run(Unary<T> function, std::int64_t n, const T* x, T* y, const ParallelFor& parallel) {
  parallel(n, kGrain, [&](std::int64_t begin, std::int64_t end) { function(x, y, {begin, end}); });
}

template <typename T>
void run(Backward<T> function, std::int64_t n, const T* x, const T* dy, T* dx, const ParallelFor& parallel) {
  parallel(n, kGrain, [&](std::int64_t begin, std::int64_t end) { function(x, dy, dx, {begin, end}); });
}

}  // namespace

template <typename T>
void exp(std::int64_t n, const T* x, T* y, Isa isa, const ParallelFor& parallel) {
  run<T>(SPATIALMAMBA_CHOOSE(isa, exp_range<T>), n, x, y, parallel);
}

template <typename T>
void softplus(std::int64_t n, const T* x, T* y, Isa isa, const ParallelFor& parallel) {
  run<T>(SPATIALMAMBA_CHOOSE(isa, softplus_range<T>), n, x, y, parallel);
}

template <typename T>
void erf(std::int64_t n, const T* x, T* y, Isa isa, const ParallelFor& parallel) {
  run<T>(SPATIALMAMBA_CHOOSE(isa, erf_range<T>), n, x, y, parallel);
}

template <typename T>
void silu(std::int64_t n, const T* x, T* y, Isa isa, const ParallelFor& parallel) {
  run<T>(SPATIALMAMBA_CHOOSE(isa, silu_range<T>), n, x, y, parallel);
}

template <typename T>
void silu_backward(std::int64_t n, const T* x, const T* dy, T* dx, Isa isa, const ParallelFor& parallel) {
  run<T>(SPATIALMAMBA_CHOOSE(isa, silu_backward_range<T>), n, x, dy, dx, parallel);
}

template <typename T>
void gelu(std::int64_t n, const T* x, T* y, Isa isa, const ParallelFor& parallel) {
  run<T>(SPATIALMAMBA_CHOOSE(isa, gelu_range<T>), n, x, y, parallel);
}

template <typename T>
void gelu_backward(std::int64_t n, const T* x, const T* dy, T* dx, Isa isa, const ParallelFor& parallel) {
  run<T>(SPATIALMAMBA_CHOOSE(isa, gelu_backward_range<T>), n, x, dy, dx, parallel);
}

template <typename T>
void bias_gelu(std::int64_t rows, std::int64_t channels, const T* x, const T* bias, T* y, Isa isa,
               const ParallelFor& parallel) {
  const auto function = SPATIALMAMBA_CHOOSE(isa, bias_gelu_rows<T>);
  parallel(rows, grain_for(channels), [&](std::int64_t begin, std::int64_t end) {
    function(channels, x, bias, y, {begin, end});
  });
}

template <typename T>
void bias_gelu_backward(std::int64_t rows, std::int64_t channels, const T* x, const T* bias, const T* dy,
                        T* dx, T* dbias, Isa isa, const ParallelFor& parallel) {
  constexpr std::int64_t kLeastRows = 32;
  constexpr std::int64_t kMostChunks = 64;
  const auto function = SPATIALMAMBA_CHOOSE(isa, bias_gelu_backward_rows<T>);
  const RowChunks chunks(rows, kLeastRows, kMostChunks);
  PartialSums<T> sums(chunks.count(), channels);
  parallel(chunks.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) function(channels, x, bias, dy, dx, sums[i], chunks[i]);
  });
  sums.sum_to(0, channels, dbias);
}

template void exp(std::int64_t, const float*, float*, Isa, const ParallelFor&);
template void exp(std::int64_t, const double*, double*, Isa, const ParallelFor&);
template void softplus(std::int64_t, const float*, float*, Isa, const ParallelFor&);
template void softplus(std::int64_t, const double*, double*, Isa, const ParallelFor&);
template void erf(std::int64_t, const float*, float*, Isa, const ParallelFor&);
template void erf(std::int64_t, const double*, double*, Isa, const ParallelFor&);
template void silu(std::int64_t, const float*, float*, Isa, const ParallelFor&);
template void silu(std::int64_t, const double*, double*, Isa, const ParallelFor&);
template void silu_backward(std::int64_t, const float*, const float*, float*, Isa, const ParallelFor&);
template void silu_backward(std::int64_t, const double*, const double*, double*, Isa, const ParallelFor&);
template void gelu(std::int64_t, const float*, float*, Isa, const ParallelFor&);
template void gelu(std::int64_t, const double*, double*, Isa, const ParallelFor&);
template void gelu_backward(std::int64_t, const float*, const float*, float*, Isa, const ParallelFor&);
template void gelu_backward(std::int64_t, const double*, const double*, double*, Isa, const ParallelFor&);
template void bias_gelu(std::int64_t, std::int64_t, const float*, const float*, float*, Isa,
                        const ParallelFor&);
template void bias_gelu(std::int64_t, std::int64_t, const double*, const double*, double*, Isa,
                        const ParallelFor&);
template void bias_gelu_backward(std::int64_t, std::int64_t, const float*, const float*, const float*, float*,
                                 float*, Isa, const ParallelFor&);
template void bias_gelu_backward(std::int64_t, std::int64_t, const double*, const double*, const double*,
                                 double*, double*, Isa, const ParallelFor&);

}  // namespace spatialmamba::kernels
#endif
