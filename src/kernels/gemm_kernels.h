#pragma once

#include <cstdint>

#include "kernels/gemm.h"

namespace spatialmamba::kernels {

/// The parts of a matrix product that depend on the instruction set.
///
/// Factors are packed before they are multiplied. A packed matrix consists of words of sizeof(T) bytes: one
/// number, or two neighbouring in k as bf16 (`k_per_word`), the lower one in the lower half. Packed k counts
/// words.
///   B in panels of up to 2 * lanes columns:  word (k, j) at k * width + j, width a multiple of lanes
///   A in panels of up to `rows` rows, as its source lies in memory, since copying is cheaper than
///   transposing:
///     rows contiguous:      word (i, k) at i * kRowWords<T> + k
///     columns contiguous:   word (i, k) at k * (rows of this panel) + i

constexpr int kMaxPanelRows = 32;
constexpr int kMaxVectors = 2;

/// Most words of k that are multiplied at a time: a panel of B then fills two thirds of a 48 KiB first-level
/// cache.
template <typename T>
constexpr std::int64_t kBlockWords = 1024 / sizeof(T);
/// A cache line more, lest all rows of a panel fall into the same cache set.
template <typename T>
constexpr std::int64_t kRowWords = kBlockWords<T> + 64 / sizeof(T);

/// What happens to a tile of products on its way into C. Pointers are those of the tile's first element.
template <typename T>
struct TileOutput {
  T* c;
  std::int64_t stride;
  bool accumulate;
  const T* bias = nullptr;
  const T* residual = nullptr;
  std::int64_t residual_stride = 0;
  GemmActivation activation = GemmActivation::none;
  T* activated = nullptr;
  std::int64_t activated_stride = 0;

  /// Nothing but a store or a sum, which the multiplying kernel does itself.
  bool plain() const { return bias == nullptr && residual == nullptr && activation == GemmActivation::none; }
};

/// How far ahead panels are fetched: the many streams that packing writes to keep the processor from seeing
/// that it reads in order.
constexpr std::int64_t kPrefetchRows = 8;

struct PanelShape {
  std::int64_t width;
  std::int64_t unit;
  std::int64_t panel_stride;

  /// Of the panel that begins `remaining` columns before the end.
  std::int64_t width_at(std::int64_t remaining) const {
    return remaining >= width ? width : (remaining + unit - 1) / unit * unit;
  }
};

template <typename T>
struct GemmKernels {
  /// Rows of A: `rows` times `k` numbers, row i at source + i * stride.
  using PackRows = void (*)(const T* source, std::int64_t stride, std::int64_t rows, std::int64_t k,
                            T* packed);
  /// Panels of `width` words for each k, `panel_stride` words apart, of `count` columns in all; number (k, j)
  /// at source[k * stride + j]. The last panel is as wide as its columns need, in multiples of `unit`, with
  /// zeros for what has no source. Up to a vector of words behind each panel may be overwritten where unit <
  /// lanes.
  using PackPanels = void (*)(const T* source, std::int64_t stride, std::int64_t count, std::int64_t k,
                              PanelShape shape, T* packed);
  /// One panel of B, `width` words for each k, of which the first `count` have a source: number (k, j) at
  /// source[j * stride + k].
  using PackTransposed = void (*)(const T* source, std::int64_t stride, std::int64_t count, std::int64_t k,
                                  std::int64_t width, T* packed);
  /// c (=|+=) a b for one panel of A and one of B, all columns of the panel.
  using Tile = void (*)(std::int64_t k, const T* a, const T* b, T* c, std::int64_t stride, bool accumulate);
  /// sums[i] (=|+=) the sum over p < k of source[p * stride + i].
  using SumColumns = void (*)(const T* source, std::int64_t stride, std::int64_t count, std::int64_t k,
                              T* sums, bool accumulate);
  using Finish = void (*)(const T* tile, std::int64_t tile_stride, std::int64_t rows, std::int64_t columns,
                          const TileOutput<T>& output);

  int rows;
  int lanes;
  int k_per_word;
  /// What packed k and rows are padded to with zeros, where it is products with packed weights that are asked
  /// for.
  int word_multiple = 1;
  int row_multiple = 1;
  PackRows pack_rows;
  PackPanels pack_panels;
  PackTransposed pack_transposed;
  /// [A's columns contiguous][vectors - 1][rows - 1]
  Tile tiles[2][kMaxVectors][kMaxPanelRows];
  Finish finish;
  SumColumns sum_columns;
  /// Called by a thread before and behind its products, where the processor wants to be told.
  void (*enter)() = nullptr;
  void (*leave)() = nullptr;
};

/// Doubles are multiplied in full.
template <typename T>
const GemmKernels<T>& gemm_kernels(Isa isa, Multiply multiply);

/// For weights that are packed once: as above, and by tiles where the instruction set has them.
const GemmKernels<float>& packed_gemm_kernels(Isa isa, Multiply multiply);

/// By tiles of AMX. `base` are the kernels of AVX-512-BF16. nullptr where the build lacks them.
const GemmKernels<float>* gemm_kernels_amx(const GemmKernels<float>& base);

/// By the instructions of AVX-512-BF16. `base` are the kernels of AVX-512. nullptr where the build lacks
/// them.
const GemmKernels<float>* gemm_kernels_avx512bf16(const GemmKernels<float>& base);

}  // namespace spatialmamba::kernels
