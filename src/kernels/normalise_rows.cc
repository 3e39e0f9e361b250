#include "kernels/normalise_rows.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/normalise_rows.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/row_stores-inl.h"
#include "kernels/vector_math-inl.h"

#ifndef SPATIALMAMBA_KERNELS_NORMALISE_ROWS_SHARED
#define SPATIALMAMBA_KERNELS_NORMALISE_ROWS_SHARED
namespace spatialmamba::kernels {
namespace {

struct Gate {
  const float* gamma;
  const float* beta;
  ConstRows rows;
};

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

struct Moments {
  float mean;
  float scale;
};

// The row stays in the first-level cache, so that the exact way, two passes, costs little.
HWY_INLINE Moments moments_of(const float* x, std::int64_t channels, float epsilon) {
  RowSum<float> sum;
  for_vectors<float>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR { sum.add(d, hn::LoadU(d, x + c)); });
  const float mean = sum.value() / static_cast<float>(channels);
  RowSum<float> squares;
  for_vectors<float>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
    const auto centred = hn::Sub(hn::LoadU(d, x + c), hn::Set(d, mean));
    squares.add_product(d, centred, centred);
  });
  return {mean, 1.0F / std::sqrt(squares.value() / static_cast<float>(channels) + epsilon)};
}

template <bool kGated, RowFormat kFormat>
void normalise(std::int64_t count, std::int64_t channels, ConstRows x, const Gate& gate, float epsilon,
               const RowDestination& out) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float* row = x.data + i * x.stride;
    const float* open = kGated ? gate.rows.data + i * gate.rows.stride : nullptr;
    const Moments moments = moments_of(row, channels, epsilon);
    float* to = out.data + i * out.row_stride;
    for (std::int64_t begin = 0; begin < channels; begin += out.piece, to += out.piece_stride) {
      const std::int64_t end = std::min(begin + out.piece, channels);
      for_vectors<float>(begin, end, [&](auto d, std::int64_t c) HWY_ATTR {
        const auto centred = hn::Sub(hn::LoadU(d, row + c), hn::Set(d, moments.mean));
        auto value = hn::Mul(centred, hn::Set(d, moments.scale));
        if constexpr (kGated) {
          value = hn::MulAdd(value, hn::LoadU(d, gate.gamma + c), hn::LoadU(d, gate.beta + c));
          value = hn::Mul(value, hn::LoadU(d, open + c));
        }
        store_as<kFormat>(d, value, to, c - begin);
      });
      end_row<kFormat>(to, end - begin);
    }
  }
}

template <bool kGated>
void normalise_to(std::int64_t count, std::int64_t channels, ConstRows x, const Gate& gate, float epsilon,
                  const RowDestination& out) {
  switch (out.format) {
    case RowFormat::floats:
      return normalise<kGated, RowFormat::floats>(count, channels, x, gate, epsilon, out);
    case RowFormat::rounded:
      return normalise<kGated, RowFormat::rounded>(count, channels, x, gate, epsilon, out);
    case RowFormat::pairs:
      return normalise<kGated, RowFormat::pairs>(count, channels, x, gate, epsilon, out);
  }
}

void sum_rows(std::int64_t count, std::int64_t channels, ConstRows x, float* sums) {
  for (std::int64_t i = 0; i < count; ++i) {
    const float* row = x.data + i * x.stride;
    for_vectors<float>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
      hn::StoreU(hn::Add(hn::LoadU(d, sums + c), hn::LoadU(d, row + c)), d, sums + c);
    });
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {

void normalise_rows(std::int64_t count, std::int64_t channels, ConstRows x, float epsilon,
                    const RowDestination& out, Isa isa) {
  SPATIALMAMBA_CHOOSE(isa, normalise_to<false>)(count, channels, x, {}, epsilon, out);
}

void normalise_gated_rows(std::int64_t count, std::int64_t channels, ConstRows x, const float* gamma,
                          const float* beta, ConstRows gate, float epsilon, const RowDestination& out,
                          Isa isa) {
  SPATIALMAMBA_CHOOSE(isa, normalise_to<true>)(count, channels, x, {gamma, beta, gate}, epsilon, out);
}

void add_rows(std::int64_t count, std::int64_t channels, ConstRows x, float* sums, Isa isa) {
  SPATIALMAMBA_CHOOSE(isa, sum_rows)(count, channels, x, sums);
}

}  // namespace spatialmamba::kernels
#endif
