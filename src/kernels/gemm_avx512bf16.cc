#include <algorithm>
#include <utility>

#include "hwy/detect_targets.h"
#include "kernels/gemm_kernels.h"

#if HWY_ARCH_X86

#include <immintrin.h>

namespace spatialmamba::kernels {
namespace {

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma")

constexpr int kLanes = 16;
constexpr int kRows = 14;  // times two vectors of sums, two of B and one number of A: 31 registers

__mmask16 first(std::int64_t count) {
  return static_cast<__mmask16>((1U << count) - 1);
}

// Up to 32 numbers to 16 words; what is missing becomes 0.
__m512i pack_pairs(const float* from, std::int64_t count) {
  const std::int64_t low = std::min<std::int64_t>(count, kLanes);
  const __m512 numbers = _mm512_maskz_loadu_ps(first(low), from);
  const __m512 more = _mm512_maskz_loadu_ps(first(count - low), from + low);
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(more, numbers));
}

void pack_row(const float* from, std::int64_t k, float* to) {
  for (std::int64_t p = 0; p < k; p += 2 * kLanes) {
    const std::int64_t count = std::min<std::int64_t>(2 * kLanes, k - p);
    _mm512_mask_storeu_epi32(to + p / 2, first((count + 1) / 2), pack_pairs(from + p, count));
  }
}

void pack_rows(const float* source, std::int64_t stride, std::int64_t rows, std::int64_t k, float* packed) {
  for (std::int64_t i = 0; i < rows; ++i) pack_row(source + i * stride, k, packed + i * kRowWords<float>);
}

// Words from one row of k and the next. (The masks keep GCC 12 from warning about its own headers.)
__m512i interleave(__m512 lower, __m512 upper) {
  constexpr __mmask16 kAll = 0xFFFF;
  const auto low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(lower));
  const auto high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(upper));
  const __m512i shifted = _mm512_maskz_slli_epi32(kAll, _mm512_maskz_cvtepu16_epi32(kAll, high), 16);
  return _mm512_or_si512(_mm512_maskz_cvtepu16_epi32(kAll, low), shifted);
}

// In whole vectors: what is written past the panel's width belongs to the next k and follows.
void pack_panels(const float* source, std::int64_t stride, std::int64_t count, std::int64_t k,
                 PanelShape shape, float* packed) {
  for (std::int64_t p = 0; p < k; p += 2) {
    const float* from = source + p * stride;
    const float* ahead = from + std::min(kPrefetchRows, k - 1 - p) * stride;
    const float* ahead_upper = from + std::min(kPrefetchRows + 1, k - 1 - p) * stride;
    float* panel = packed;
    for (std::int64_t j = 0; j < count; j += shape.width, panel += shape.panel_stride) {
      const std::int64_t width = shape.width_at(count - j);
      const std::int64_t there = std::min(width, count - j);
      float* to = panel + p / 2 * width;
      for (std::int64_t i = 0; i < width; i += kLanes) {
        _mm_prefetch(ahead + j + i, _MM_HINT_T0);
        _mm_prefetch(ahead_upper + j + i, _MM_HINT_T0);
        const __mmask16 part = first(std::clamp<std::int64_t>(there - i, 0, kLanes));
        const __m512 lower = _mm512_maskz_loadu_ps(part, from + j + i);
        const __m512 upper =
            p + 1 < k ? _mm512_maskz_loadu_ps(part, from + stride + j + i) : _mm512_setzero_ps();
        _mm512_storeu_si512(to + i, interleave(lower, upper));
      }
    }
  }
}

// Four words of row j, or zeros.
__m128 pack_four(const float* source, std::int64_t k, bool there) {
  const auto mask = static_cast<__mmask8>(there ? (1U << std::min<std::int64_t>(k, 8)) - 1 : 0);
  return reinterpret_cast<__m128>(_mm256_cvtneps_pbh(_mm256_maskz_loadu_ps(mask, source)));
}

void pack_transposed(const float* source, std::int64_t stride, std::int64_t count, std::int64_t k,
                     std::int64_t width, float* packed) {
  for (std::int64_t j = 0; j < width; j += 4) {
    for (std::int64_t p = 0; p < k; p += 8) {
      const float* from = source + j * stride + p;
      __m128 row0 = pack_four(from, k - p, j < count);
      __m128 row1 = pack_four(from + stride, k - p, j + 1 < count);
      __m128 row2 = pack_four(from + 2 * stride, k - p, j + 2 < count);
      __m128 row3 = pack_four(from + 3 * stride, k - p, j + 3 < count);
      _MM_TRANSPOSE4_PS(row0, row1, row2, row3);
      float* to = packed + p / 2 * width + j;
      const std::int64_t words = (std::min<std::int64_t>(k - p, 8) + 1) / 2;
      _mm_storeu_ps(to, row0);
      if (words > 1) _mm_storeu_ps(to + width, row1);
      if (words > 2) _mm_storeu_ps(to + 2 * width, row2);
      if (words > 3) _mm_storeu_ps(to + 3 * width, row3);
    }
  }
}

template <bool kColumnsContiguous, int kVectors, int kCount>
void multiply_tile(std::int64_t k, const float* a, const float* b, float* c, std::int64_t stride,
                   bool accumulate) {
  constexpr std::int64_t kRowStep = kColumnsContiguous ? 1 : kRowWords<float>;
  constexpr std::int64_t kStep = kColumnsContiguous ? kCount : 1;
  __m512 sums[kCount][kVectors];
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      sums[i][v] = _mm512_setzero_ps();
      _mm_prefetch(c + i * stride + v * kLanes, _MM_HINT_T0);
    }
  }
  for (std::int64_t p = 0; p < k; ++p) {
    __m512bh columns[kVectors];
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v)
      columns[v] = reinterpret_cast<__m512bh>(_mm512_load_ps(b + v * kLanes));
#pragma GCC unroll 16
    for (int i = 0; i < kCount; ++i) {
      const auto row = reinterpret_cast<__m512bh>(_mm512_set1_ps(a[i * kRowStep]));
#pragma GCC unroll 2
      for (int v = 0; v < kVectors; ++v) sums[i][v] = _mm512_dpbf16_ps(sums[i][v], row, columns[v]);
    }
    a += kStep;
    b += kVectors * kLanes;
  }
#pragma GCC unroll 16
  for (int i = 0; i < kCount; ++i) {
#pragma GCC unroll 2
    for (int v = 0; v < kVectors; ++v) {
      float* to = c + i * stride + v * kLanes;
      if (accumulate) sums[i][v] = _mm512_add_ps(sums[i][v], _mm512_loadu_ps(to));
      _mm512_storeu_ps(to, sums[i][v]);
    }
  }
}

#pragma GCC pop_options

template <bool kColumnsContiguous, int kVectors, int... kCounts>
void list_tiles(GemmKernels<float>::Tile* tiles, std::integer_sequence<int, kCounts...>) {
  ((tiles[kCounts] = &multiply_tile<kColumnsContiguous, kVectors, kCounts + 1>), ...);
}

GemmKernels<float> make_kernels(const GemmKernels<float>& base) {
  GemmKernels<float> kernels = base;
  kernels.rows = kRows;
  kernels.lanes = kLanes;
  kernels.k_per_word = 2;
  kernels.pack_rows = &pack_rows;
  kernels.pack_panels = &pack_panels;
  kernels.pack_transposed = &pack_transposed;
  constexpr std::make_integer_sequence<int, kRows> kCounts;
  list_tiles<false, 1>(kernels.tiles[0][0], kCounts);
  list_tiles<false, 2>(kernels.tiles[0][1], kCounts);
  list_tiles<true, 1>(kernels.tiles[1][0], kCounts);
  list_tiles<true, 2>(kernels.tiles[1][1], kCounts);
  return kernels;
}

}  // namespace

const GemmKernels<float>* gemm_kernels_avx512bf16(const GemmKernels<float>& base) {
  static const GemmKernels<float> kernels = make_kernels(base);
  return &kernels;
}

}  // namespace spatialmamba::kernels

#else

namespace spatialmamba::kernels {

const GemmKernels<float>* gemm_kernels_avx512bf16(const GemmKernels<float>&) {
  return nullptr;
}

}  // namespace spatialmamba::kernels

#endif
