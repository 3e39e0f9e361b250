#include "kernels/layer_norm.h"

#include <cmath>

#include "kernels/partial_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/layer_norm.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

template <typename T>
void normalise_rows(const LayerNormInput<T>& in, T* y, T* mean, T* rstd, RowRange rows) {
  const std::int64_t channels = in.channels;
  const T scale = T{1} / static_cast<T>(channels);
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const T* x = in.x + row * channels;
    T* out = y + row * channels;
    RowSum<T> total;
    for_vectors<T>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR { total.add(d, hn::LoadU(d, x + c)); });
    const T m = total.value() * scale;
    RowSum<T> squares;
    for_vectors<T>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
      const auto centred = hn::Sub(hn::LoadU(d, x + c), hn::Set(d, m));
      squares.add_product(d, centred, centred);
    });
    const T r = T{1} / std::sqrt(squares.value() * scale + static_cast<T>(in.epsilon));
    const T* z = in.z == nullptr ? nullptr : in.z + row * in.z_stride;
    for_vectors<T>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
      const auto xhat = hn::Mul(hn::Sub(hn::LoadU(d, x + c), hn::Set(d, m)), hn::Set(d, r));
      auto value = hn::MulAdd(xhat, hn::LoadU(d, in.gamma + c), hn::LoadU(d, in.beta + c));
      if (z != nullptr) value = hn::Mul(value, silu(d, hn::LoadU(d, z + c)));
      hn::StoreU(value, d, out + c);
    });
    if (mean != nullptr) mean[row] = m;
    if (rstd != nullptr) rstd[row] = r;
  }
}

// Gradient behind the gate: from dy to that of xhat · gamma + beta, and dz on the way.
template <typename T, class D>
HWY_INLINE hn::Vec<D> through_gate(D d, hn::Vec<D> dy, hn::Vec<D> normalised, const T* z, T* dz) {
  const auto gate = silu_with_slope(d, hn::LoadU(d, z));
  hn::StoreU(hn::Mul(hn::Mul(dy, normalised), gate.slope), d, dz);
  return hn::Mul(dy, gate.value);
}

// Adds to dgamma and dbeta.
template <typename T>
void differentiate_rows(const LayerNormInput<T>& in, const LayerNormGradient<T>& grad, T* dgamma, T* dbeta,
                        RowRange rows) {
  const std::int64_t channels = in.channels;
  const T scale = T{1} / static_cast<T>(channels);
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const T* x = in.x + row * channels;
    const T* dy = grad.dy + row * channels;
    T* dx = grad.dx + row * channels;
    const T* z = in.z == nullptr ? nullptr : in.z + row * in.z_stride;
    T* dz = z == nullptr ? nullptr : grad.dz + row * grad.dz_stride;
    const T mean = grad.mean[row];
    const T rstd = grad.rstd[row];
    RowSum<T> sum;
    RowSum<T> sum_xhat;
    for_vectors<T>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
      const auto xhat = hn::Mul(hn::Sub(hn::LoadU(d, x + c), hn::Set(d, mean)), hn::Set(d, rstd));
      const auto gamma = hn::LoadU(d, in.gamma + c);
      auto g = hn::LoadU(d, dy + c);
      if (z != nullptr) {
        g = through_gate<T>(d, g, hn::MulAdd(xhat, gamma, hn::LoadU(d, in.beta + c)), z + c, dz + c);
      }
      hn::StoreU(hn::MulAdd(g, xhat, hn::LoadU(d, dgamma + c)), d, dgamma + c);
      hn::StoreU(hn::Add(g, hn::LoadU(d, dbeta + c)), d, dbeta + c);
      const auto scaled = hn::Mul(g, gamma);
      hn::StoreU(scaled, d, dx + c);
      sum.add(d, scaled);
      sum_xhat.add_product(d, scaled, xhat);
    });
    const T mean_g = sum.value() * scale;
    const T mean_g_xhat = sum_xhat.value() * scale;
    for_vectors<T>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
      const auto xhat = hn::Mul(hn::Sub(hn::LoadU(d, x + c), hn::Set(d, mean)), hn::Set(d, rstd));
      const auto centred = hn::Sub(hn::LoadU(d, dx + c), hn::Set(d, mean_g));
      hn::StoreU(hn::Mul(hn::NegMulAdd(xhat, hn::Set(d, mean_g_xhat), centred), hn::Set(d, rstd)), d, dx + c);
    });
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

constexpr std::int64_t kLeastRows = 32;
constexpr std::int64_t kMostChunks = 64;

}  // namespace

template <typename T>
void layer_norm_forward(const LayerNormInput<T>& input, T* y, T* mean, T* rstd, Isa isa,
                        const ParallelFor& parallel) {
  const auto normalise = SPATIALMAMBA_CHOOSE(isa, normalise_rows<T>);
  parallel(input.rows, grain_for(input.channels), [&](std::int64_t begin, std::int64_t end) {
    normalise(input, y, mean, rstd, {begin, end});
  });
}

template <typename T>
void layer_norm_backward(const LayerNormInput<T>& input, const LayerNormGradient<T>& gradient, Isa isa,
                         const ParallelFor& parallel) {
  const auto differentiate = SPATIALMAMBA_CHOOSE(isa, differentiate_rows<T>);
  const RowChunks chunks(input.rows, kLeastRows, kMostChunks);
  PartialSums<T> sums(chunks.count(), 2 * input.channels);
  parallel(chunks.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      differentiate(input, gradient, sums[i], sums[i] + input.channels, chunks[i]);
    }
  });
  sums.sum_to(0, input.channels, gradient.dgamma);
  sums.sum_to(input.channels, input.channels, gradient.dbeta);
}

template void layer_norm_forward(const LayerNormInput<float>&, float*, float*, float*, Isa,
                                 const ParallelFor&);
template void layer_norm_forward(const LayerNormInput<double>&, double*, double*, double*, Isa,
                                 const ParallelFor&);
template void layer_norm_backward(const LayerNormInput<float>&, const LayerNormGradient<float>&, Isa,
                                  const ParallelFor&);
template void layer_norm_backward(const LayerNormInput<double>&, const LayerNormGradient<double>&, Isa,
                                  const ParallelFor&);

}  // namespace spatialmamba::kernels
#endif
