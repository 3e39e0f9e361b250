#include "kernels/gemm_kernels.h"

#include <algorithm>
#include <cstring>
#include <utility>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm_kernels.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/row_stores-inl.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Two accumulators a row, two vectors of B and one number of A must fit into the registers: 32 or 16.
constexpr int kRows = HWY_TARGET == HWY_AVX3 ? 14 : HWY_TARGET == HWY_NEON ? 12 : 6;

template <typename T>
using Tag = hn::ScalableTag<T>;
template <typename T>
using Vector = hn::Vec<Tag<T>>;
template <typename T>
constexpr std::int64_t kLanes = HWY_LANES(T);

// Where loads and stores of a part of a vector leave the rest of memory alone.
constexpr bool kMaskedAccess = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2;
// Where instructions convert to half precision; elsewhere Highway cuts the last bits off.
constexpr bool kHalfConversion = HWY_ARCH_X86 && HWY_TARGET <= HWY_AVX2;

template <typename T>
HWY_INLINE Vector<T> load_part(const T* from, std::int64_t count) {
  const Tag<T> d;
  if constexpr (kMaskedAccess) {
    return hn::MaskedLoad(hn::FirstN(d, static_cast<std::size_t>(count)), d, from);
  } else {
    HWY_ALIGN T buffer[kLanes<T>] = {};
    std::copy_n(from, count, buffer);
    return hn::Load(d, buffer);
  }
}

template <typename T>
HWY_INLINE void store_part(Vector<T> value, T* to, std::int64_t count) {
  const Tag<T> d;
  if constexpr (kMaskedAccess) {
    hn::BlendedStore(value, hn::FirstN(d, static_cast<std::size_t>(count)), d, to);
  } else {
    HWY_ALIGN T buffer[kLanes<T>];
    hn::Store(value, d, buffer);
    std::copy_n(buffer, count, to);
  }
}

// To the nearest half (IEEE binary16), ties to even. Normal ones have 11 bits; below 2^-14 all are multiples
// of 2^-24, as floats from 1/2 to 1 are.
template <class D>
HWY_INLINE hn::Vec<D> round_to_fp16(D d, hn::Vec<D> value) {
  if constexpr (kHalfConversion) {
    return hn::PromoteTo(d, hn::DemoteTo(hn::Rebind<hwy::float16_t, D>(), value));
  } else {
    const hn::RebindToUnsigned<D> du;
    const auto magnitude = hn::Abs(value);
    const auto bits = hn::BitCast(du, magnitude);
    const auto odd = hn::And(hn::ShiftRight<13>(bits), hn::Set(du, 1));
    const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0xFFF)));
    const auto normal = hn::BitCast(d, hn::And(rounded, hn::Set(du, 0xFFFFE000)));
    const auto half = hn::Set(d, 0.5F);
    const auto subnormal = hn::Sub(hn::Add(magnitude, half), half);
    auto kept = hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, 0x1p-14F)), subnormal, normal);
    kept = hn::IfThenElse(hn::Ge(normal, hn::Set(d, 0x1p16F)), hn::Inf(d), kept);
    return hn::IfThenElse(hn::IsNaN(value), value, hn::CopySign(kept, value));
  }
}

template <Multiply kMultiply, class D>
HWY_INLINE hn::Vec<D> packed_value(D d, hn::Vec<D> value) {
  if constexpr (kMultiply == Multiply::bf16) {
    return round_to_bf16(d, value);
  } else if constexpr (kMultiply == Multiply::fp16) {
    return round_to_fp16(d, value);
  } else {
    return value;
  }
}

template <Multiply kMultiply, typename T>
void pack_row(const T* HWY_RESTRICT from, std::int64_t count, T* HWY_RESTRICT to) {
  const Tag<T> d;
  std::int64_t i = 0;
  for (; i + kLanes<T> <= count; i += kLanes<T>) {
    hn::StoreU(packed_value<kMultiply>(d, hn::LoadU(d, from + i)), d, to + i);
  }
  if (i < count) store_part<T>(packed_value<kMultiply>(d, load_part(from + i, count - i)), to + i, count - i);
}

template <Multiply kMultiply, typename T>
void pack_rows(const T* source, std::int64_t stride, std::int64_t rows, std::int64_t k, T* packed) {
  for (std::int64_t i = 0; i < rows; ++i) {
    pack_row<kMultiply>(source + i * stride, k, packed + i * kRowWords<T>);
  }
}

// In whole vectors: what is written past the panel's width belongs to the next k and follows.
template <Multiply kMultiply, typename T>
void pack_panels(const T* HWY_RESTRICT source, std::int64_t stride, std::int64_t count, std::int64_t k,
                 PanelShape shape, T* HWY_RESTRICT packed) {
  const Tag<T> d;
  for (std::int64_t p = 0; p < k; ++p) {
    const T* from = source + p * stride;
    const std::int64_t ahead = std::min(kPrefetchRows, k - 1 - p) * stride;
    T* panel = packed;
    for (std::int64_t j = 0; j < count; j += shape.width, panel += shape.panel_stride) {
      const std::int64_t width = shape.width_at(count - j);
      const std::int64_t there = std::min(width, count - j);
      T* to = panel + p * width;
      std::int64_t i = 0;
      for (; i + kLanes<T> <= there; i += kLanes<T>) {
        hwy::Prefetch(from + ahead + j + i);
        hn::StoreU(packed_value<kMultiply>(d, hn::LoadU(d, from + j + i)), d, to + i);
      }
      for (; i < width; i += kLanes<T>) {
        hwy::Prefetch(from + ahead + j);
        const std::int64_t part = std::clamp<std::int64_t>(there - i, 0, kLanes<T>);
        hn::StoreU(packed_value<kMultiply>(d, load_part(from + j + i, part)), d, to + i);
      }
    }
  }
}

#if HWY_TARGET != HWY_SCALAR
// Four rows of four numbers to four columns.
template <Multiply kMultiply>
HWY_INLINE void transpose_4x4(const float* HWY_RESTRICT source, std::int64_t stride, float* HWY_RESTRICT to,
                              std::int64_t to_stride) {
  const hn::FixedTag<float, 4> d;
  const hn::FixedTag<double, 2> d2;
  const auto row0 = packed_value<kMultiply>(d, hn::LoadU(d, source));
  const auto row1 = packed_value<kMultiply>(d, hn::LoadU(d, source + stride));
  const auto row2 = packed_value<kMultiply>(d, hn::LoadU(d, source + 2 * stride));
  const auto row3 = packed_value<kMultiply>(d, hn::LoadU(d, source + 3 * stride));
  const auto low01 = hn::BitCast(d2, hn::InterleaveLower(d, row0, row1));
  const auto low23 = hn::BitCast(d2, hn::InterleaveLower(d, row2, row3));
  const auto high01 = hn::BitCast(d2, hn::InterleaveUpper(d, row0, row1));
  const auto high23 = hn::BitCast(d2, hn::InterleaveUpper(d, row2, row3));
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, low01, low23)), d, to);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, low01, low23)), d, to + to_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveLower(d2, high01, high23)), d, to + 2 * to_stride);
  hn::StoreU(hn::BitCast(d, hn::InterleaveUpper(d2, high01, high23)), d, to + 3 * to_stride);
}

// Columns [0, result) of the panel, by fours.
template <Multiply kMultiply>
std::int64_t pack_fours_transposed(const float* source, std::int64_t stride, std::int64_t count,
                                   std::int64_t k, std::int64_t width, float* packed) {
  std::int64_t j = 0;
  for (; j + 4 <= count; j += 4) {
    std::int64_t p = 0;
    for (; p + 4 <= k; p += 4) {
      transpose_4x4<kMultiply>(source + j * stride + p, stride, packed + p * width + j, width);
    }
    for (; p < k; ++p) {
      for (std::int64_t i = j; i < j + 4; ++i)
        pack_row<kMultiply>(source + i * stride + p, 1, packed + p * width + i);
    }
  }
  return j;
}
#else
template <Multiply kMultiply>
std::int64_t pack_fours_transposed(const float*, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                                   float*) {
  return 0;
}
#endif

template <Multiply kMultiply>
std::int64_t pack_fours_transposed(const double*, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                                   double*) {
  return 0;
}

template <Multiply kMultiply, typename T>
void pack_transposed(const T* source, std::int64_t stride, std::int64_t count, std::int64_t k,
                     std::int64_t width, T* packed) {
  std::int64_t j = pack_fours_transposed<kMultiply>(source, stride, count, k, width, packed);
  for (; j < count; ++j) {
    for (std::int64_t p = 0; p < k; ++p)
      pack_row<kMultiply>(source + j * stride + p, 1, packed + p * width + j);
  }
  for (std::int64_t p = 0; p < k && count < width; ++p) {
    std::fill(packed + p * width + count, packed + (p + 1) * width, T{0});
  }
}

template <typename T, bool kColumnsContiguous, int kVectors, int kCount>
void multiply_tile(std::int64_t k, const T* HWY_RESTRICT a, const T* HWY_RESTRICT b, T* HWY_RESTRICT c,
                   std::int64_t stride, bool accumulate) {
  constexpr std::int64_t kRowStep = kColumnsContiguous ? 1 : kRowWords<T>;
  constexpr std::int64_t kStep = kColumnsContiguous ? kCount : 1;
  const Tag<T> d;
  Vector<T> sums[kCount][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      sums[i][v] = hn::Zero(d);
      hwy::Prefetch(c + i * stride + v * kLanes<T>);
    }
  }
  for (std::int64_t p = 0; p < k; ++p) {
    Vector<T> columns[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) columns[v] = hn::Load(d, b + v * kLanes<T>);
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      const auto row = hn::Set(d, a[i * kRowStep]);
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sums[i][v] = hn::MulAdd(row, columns[v], sums[i][v]);
    }
    a += kStep;
    b += kVectors * kLanes<T>;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      T* to = c + i * stride + v * kLanes<T>;
      if (accumulate) sums[i][v] = hn::Add(sums[i][v], hn::LoadU(d, to));
      hn::StoreU(sums[i][v], d, to);
    }
  }
}

template <typename T>
void sum_columns(const T* HWY_RESTRICT source, std::int64_t stride, std::int64_t count, std::int64_t k,
                 T* HWY_RESTRICT sums, bool accumulate) {
  const Tag<T> d;
  std::int64_t i = 0;
  for (; i + 2 * kLanes<T> <= count; i += 2 * kLanes<T>) {
    auto sum0 = hn::Zero(d);
    auto sum1 = hn::Zero(d);
    for (std::int64_t p = 0; p < k; ++p) {
      sum0 = hn::Add(sum0, hn::LoadU(d, source + p * stride + i));
      sum1 = hn::Add(sum1, hn::LoadU(d, source + p * stride + i + kLanes<T>));
    }
    if (accumulate) {
      sum0 = hn::Add(sum0, hn::LoadU(d, sums + i));
      sum1 = hn::Add(sum1, hn::LoadU(d, sums + i + kLanes<T>));
    }
    hn::StoreU(sum0, d, sums + i);
    hn::StoreU(sum1, d, sums + i + kLanes<T>);
  }
  for (; i < count; i += kLanes<T>) {
    const std::int64_t part = std::min(kLanes<T>, count - i);
    auto sum = hn::Zero(d);
    for (std::int64_t p = 0; p < k; ++p) sum = hn::Add(sum, load_part(source + p * stride + i, part));
    if (accumulate) sum = hn::Add(sum, load_part(sums + i, part));
    store_part<T>(sum, sums + i, part);
  }
}

template <class D>
HWY_INLINE hn::Vec<D> activated(D d, GemmActivation activation, hn::Vec<D> value) {
  if (activation == GemmActivation::gelu) return gelu(d, value);
  if (activation == GemmActivation::silu) return silu(d, value);
  return hn::IfThenElse(hn::Lt(value, hn::Zero(d)), hn::Zero(d), value);  // NaN stays NaN
}

template <typename T>
void finish(const T* tile, std::int64_t tile_stride, std::int64_t rows, std::int64_t columns,
            const TileOutput<T>& output) {
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* sums = tile + i * tile_stride;
    T* c = output.c + i * output.stride;
    const T* residual = output.residual + i * output.residual_stride;
    T* active = output.activated + i * output.activated_stride;
    for_vectors<T>(0, columns, [&](auto d, std::int64_t j) HWY_ATTR {
      auto sum = hn::LoadU(d, sums + j);
      if (output.accumulate) sum = hn::Add(sum, hn::LoadU(d, c + j));
      if (output.bias != nullptr) sum = hn::Add(sum, hn::LoadU(d, output.bias + j));
      if (output.residual != nullptr) sum = hn::Add(sum, hn::LoadU(d, residual + j));
      hn::StoreU(sum, d, c + j);
      if (output.activation != GemmActivation::none) {
        hn::StoreU(activated(d, output.activation, sum), d, active + j);
      }
    });
  }
}

template <typename T, bool kColumnsContiguous, int kVectors, int... kCounts>
void list_tiles(typename GemmKernels<T>::Tile* tiles, std::integer_sequence<int, kCounts...>) {
  ((tiles[kCounts] = &multiply_tile<T, kColumnsContiguous, kVectors, kCounts + 1>), ...);
}

template <typename T, Multiply kMultiply>
GemmKernels<T> make_kernels() {
  GemmKernels<T> kernels{};
  kernels.rows = kRows;
  kernels.lanes = static_cast<int>(kLanes<T>);
  kernels.k_per_word = 1;
  kernels.pack_rows = &pack_rows<kMultiply, T>;
  kernels.pack_panels = &pack_panels<kMultiply, T>;
  kernels.pack_transposed = &pack_transposed<kMultiply, T>;
  kernels.finish = &finish<T>;
  kernels.sum_columns = &sum_columns<T>;
  constexpr std::make_integer_sequence<int, kRows> kCounts;
  list_tiles<T, false, 1>(kernels.tiles[0][0], kCounts);
  list_tiles<T, false, 2>(kernels.tiles[0][1], kCounts);
  list_tiles<T, true, 1>(kernels.tiles[1][0], kCounts);
  list_tiles<T, true, 2>(kernels.tiles[1][1], kCounts);
  return kernels;
}

const GemmKernels<float>& float_kernels() {
  static const GemmKernels<float> kernels = make_kernels<float, Multiply::full>();
  return kernels;
}

const GemmKernels<float>& bf16_kernels() {
  static const GemmKernels<float> kernels = make_kernels<float, Multiply::bf16>();
  return kernels;
}

const GemmKernels<float>& fp16_kernels() {
  static const GemmKernels<float> kernels = make_kernels<float, Multiply::fp16>();
  return kernels;
}

const GemmKernels<double>& double_kernels() {
  static const GemmKernels<double> kernels = make_kernels<double, Multiply::full>();
  return kernels;
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {

template <>
const GemmKernels<float>& gemm_kernels(Isa isa, Multiply multiply) {
  if (multiply == Multiply::full) return SPATIALMAMBA_CHOOSE(isa, float_kernels)();
  if (multiply == Multiply::fp16) return SPATIALMAMBA_CHOOSE(isa, fp16_kernels)();
  if (isa >= Isa::avx512bf16) {
    const GemmKernels<float>* kernels = gemm_kernels_avx512bf16(SPATIALMAMBA_CHOOSE(isa, float_kernels)());
    if (kernels != nullptr) return *kernels;
  }
  return SPATIALMAMBA_CHOOSE(isa, bf16_kernels)();
}

const GemmKernels<float>& packed_gemm_kernels(Isa isa, Multiply multiply) {
  const GemmKernels<float>& base = gemm_kernels<float>(isa, multiply);
  if (isa != Isa::amx || multiply != Multiply::bf16) return base;
  const GemmKernels<float>* tiles = gemm_kernels_amx(base);
  return tiles == nullptr ? base : *tiles;
}

template <>
const GemmKernels<double>& gemm_kernels(Isa isa, Multiply) {
  return SPATIALMAMBA_CHOOSE(isa, double_kernels)();
}

}  // namespace spatialmamba::kernels
#endif
