#include "kernels/gemm.h"

#include <algorithm>

#include "kernels/gemm_kernels.h"

namespace spatialmamba::kernels {
namespace {

// Packed rows of A that stay in a second-level cache of 512 KiB or more.
constexpr std::int64_t kMaxBlockRows = 336;
// Below so many multiplications, handing work to other threads costs more than it saves.
constexpr std::int64_t kSerialProducts = std::int64_t{1} << 19;

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) {
  return divide_up(a, b) * b;
}

struct Range {
  std::int64_t begin;
  std::int64_t end;
  std::int64_t size() const { return end - begin; }
};

/// Part `index` of [0, n) cut into pieces of `step`.
Range piece(std::int64_t index, std::int64_t step, std::int64_t n) {
  return {index * step, std::min((index + 1) * step, n)};
}

/// One call: what is multiplied and how it is cut up.
///  - Few rows of k (forward, input gradient): B is packed whole, once, and shared; tasks are blocks of C.
///  - Long k (weight gradient): tasks are ranges of k, each packs its own part of A and B and sums into a
///    partial C, and the partial ones are added up in order.
template <typename T>
struct Product {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
  Operand<T> a;
  Operand<T> b;
  GemmOutput<T> c;
  const GemmKernels<T>* kernels;

  std::int64_t panel_rows = 0;      // of A, but for the last panel of a block
  std::int64_t panel_columns = 0;   // of B, but for the last panel
  std::int64_t padded_columns = 0;  // of B as packed
  std::int64_t block_rows = 0;      // of C in a task, or of A packed at a time
  std::int64_t block_columns = 0;   // of C in a task
  std::int64_t block_k = 0;         // multiplied at a time
  std::int64_t split_k = 0;         // of a task, where tasks are ranges of k; otherwise 0

  std::int64_t words(std::int64_t count) const { return divide_up(count, kernels->k_per_word); }
  std::int64_t panel_width(std::int64_t column) const {
    return std::min(panel_columns, padded_columns - column);
  }
  std::int64_t packed_rows_size() const { return round_up(block_rows, panel_rows) * kRowWords<T>; }
  std::int64_t splits() const { return split_k == 0 ? 1 : divide_up(k, split_k); }
};

template <typename T>
void choose_blocks(Product<T>& product, int threads) {
  const GemmKernels<T>& kernels = *product.kernels;
  product.panel_columns = kMaxVectors * kernels.lanes;
  product.padded_columns = round_up(product.n, kernels.lanes);

  const std::int64_t words = product.words(product.k);
  const std::int64_t k_blocks = std::max<std::int64_t>(1, divide_up(words, kBlockWords<T>));
  product.block_k = std::max<std::int64_t>(1, divide_up(words, k_blocks)) * kernels.k_per_word;

  const bool long_k = k_blocks >= 4 && product.k >= 4 * std::max(product.m, product.n);
  std::int64_t m_blocks = divide_up(product.m, kMaxBlockRows);
  if (!long_k && (m_blocks > 1 || product.m >= 2 * kernels.rows * threads))
    m_blocks = round_up(m_blocks, threads);
  product.block_rows = divide_up(product.m, m_blocks);
  // Panels of about the same height rather than a low one at the end.
  product.panel_rows = divide_up(product.block_rows, divide_up(product.block_rows, kernels.rows));
  if (long_k) {
    product.block_columns = product.n;
    const std::int64_t splits = threads == 1 ? 1 : std::min<std::int64_t>(2 * threads, k_blocks / 2);
    product.split_k = divide_up(k_blocks, splits) * product.block_k;
  } else {
    const std::int64_t n_blocks = divide_up(threads, divide_up(product.m, product.block_rows));
    product.block_columns = round_up(divide_up(product.n, n_blocks), product.panel_columns);
  }
}

/// Packs columns of B, from a panel's first one on, for the k of one block.
template <typename T>
void pack_columns(const Product<T>& product, Range columns, Range k, T* packed) {
  const GemmKernels<T>& kernels = *product.kernels;
  const Operand<T>& b = product.b;
  const std::int64_t words = product.words(k.size());
  if (!b.transposed) {
    const PanelShape shape{product.panel_columns, kernels.lanes, product.panel_columns * words};
    kernels.pack_panels(b.data + k.begin * b.stride + columns.begin, b.stride, columns.size(), k.size(),
                        shape, packed);
    return;
  }
  for (std::int64_t j = columns.begin; j < columns.end; j += product.panel_columns) {
    const std::int64_t width = product.panel_width(j);
    kernels.pack_transposed(b.data + j * b.stride + k.begin, b.stride, std::min(width, columns.end - j),
                            k.size(), width, packed + (j - columns.begin) * words);
  }
}

/// Packs the rows of A for the k of one block.
template <typename T>
void pack_rows(const Product<T>& product, Range rows, Range k, T* packed) {
  const GemmKernels<T>& kernels = *product.kernels;
  const Operand<T>& a = product.a;
  if (a.transposed) {
    const PanelShape shape{product.panel_rows, 1, product.panel_rows * kRowWords<T>};
    kernels.pack_panels(a.data + k.begin * a.stride + rows.begin, a.stride, rows.size(), k.size(), shape,
                        packed);
  } else {
    kernels.pack_rows(a.data + rows.begin * a.stride + k.begin, a.stride, rows.size(), k.size(), packed);
  }
}

template <typename T>
void sum_rows(const Product<T>& product, Range rows, Range k, T* sums, bool accumulate) {
  const Operand<T>& a = product.a;
  if (a.transposed) {
    product.kernels->sum_columns(a.data + k.begin * a.stride + rows.begin, a.stride, rows.size(), k.size(),
                                 sums + rows.begin, accumulate);
    return;
  }
  for (std::int64_t i = rows.begin; i < rows.end; ++i) {
    T sum = accumulate ? sums[i] : T{0};
    for (std::int64_t p = k.begin; p < k.end; ++p) sum += a.data[i * a.stride + p];
    sums[i] = sum;
  }
}

/// The place in C of the tile at (row, column). Only the last block of k does more than to sum up.
template <typename T>
TileOutput<T> tile_output(const GemmOutput<T>& c, std::int64_t row, std::int64_t column, bool first,
                          bool last) {
  TileOutput<T> output{
      .c = c.data + row * c.stride + column, .stride = c.stride, .accumulate = c.accumulate || !first};
  if (!last) return output;
  if (c.bias != nullptr) output.bias = c.bias + column;
  if (c.residual != nullptr) {
    output.residual = c.residual + row * c.residual_stride + column;
    output.residual_stride = c.residual_stride;
  }
  if (c.activation != GemmActivation::none) {
    output.activation = c.activation;
    output.activated = c.activated + row * c.activated_stride + column;
    output.activated_stride = c.activated_stride;
  }
  return output;
}

/// Multiplies packed rows by one packed panel into C.
template <typename T>
void multiply_panel(const Product<T>& product, const GemmOutput<T>& c, Range rows, std::int64_t column,
                    std::int64_t words, const T* packed_rows, const T* panel, bool first, bool last) {
  const GemmKernels<T>& kernels = *product.kernels;
  const std::int64_t width = product.panel_width(column);
  const std::int64_t columns = std::min(width, product.n - column);
  const auto& tiles = kernels.tiles[product.a.transposed ? 1 : 0][width / kernels.lanes - 1];
  alignas(64) T tile[kMaxPanelRows * kMaxVectors * 64 / sizeof(T)];
  for (std::int64_t i = rows.begin; i < rows.end; i += product.panel_rows) {
    const std::int64_t count = std::min(product.panel_rows, rows.end - i);
    const TileOutput<T> output = tile_output(c, i, column, first, last);
    const T* a = packed_rows + (i - rows.begin) * kRowWords<T>;
    const auto multiply = tiles[count - 1];
    if (columns == width && output.plain()) {
      multiply(words, a, panel, output.c, output.stride, output.accumulate);
    } else {
      multiply(words, a, panel, tile, width, false);
      kernels.finish(tile, width, count, columns, output);
    }
  }
}

/// C for some rows, columns and k. B is packed into `packed_panels` already where it is shared, otherwise it
/// is packed there block by block.
template <typename T>
void multiply_part(const Product<T>& product, const GemmOutput<T>& c, Range rows, Range columns, Range k,
                   T* packed_rows, T* packed_panels, bool shared) {
  std::int64_t begin = k.begin;
  do {  // once at least: a product of nothing is 0, and has its bias
    const Range block{begin, std::min(begin + product.block_k, k.end)};
    const std::int64_t words = product.words(block.size());
    const bool first = begin == k.begin;
    const bool last = block.end == k.end;
    T* panels = packed_panels;
    if (shared) {
      panels += product.words(begin) * product.padded_columns;
    } else {
      pack_columns(product, columns, block, panels + columns.begin * words);
    }
    for (std::int64_t i = rows.begin; i < rows.end; i += product.block_rows) {
      const Range some{i, std::min(i + product.block_rows, rows.end)};
      pack_rows(product, some, block, packed_rows);
      if (c.row_sums != nullptr && columns.begin == 0) {
        sum_rows(product, some, block, c.row_sums, c.accumulate || !first);
      }
      for (std::int64_t j = columns.begin; j < columns.end; j += product.panel_columns) {
        multiply_panel(product, c, some, j, words, packed_rows, panels + j * words, first, last);
      }
    }
    begin = block.end;
  } while (begin < k.end);
}

template <typename T>
T* borrowed(const GemmScratch::Lease& lease) {
  return reinterpret_cast<T*>(lease.data());
}

template <typename T>
GemmScratch::Lease borrow(GemmScratch& scratch, std::int64_t count) {
  return scratch.borrow(static_cast<std::size_t>(count) * sizeof(T));
}

/// B packed whole and shared, tasks are blocks of C.
template <typename T>
void multiply_blocks(const Product<T>& product, const ParallelFor& parallel, GemmScratch& scratch) {
  const std::int64_t k_words = product.words(product.k);
  const auto panels_lease = borrow<T>(scratch, k_words * product.padded_columns);
  T* panels = borrowed<T>(panels_lease);
  // Wide enough to read whole pages' worth of a row, narrow enough for several tasks.
  const std::int64_t pack_columns_step = 4 * product.panel_columns;
  const std::int64_t n_packs = divide_up(product.n, pack_columns_step);
  const std::int64_t k_blocks = divide_up(product.k, product.block_k);
  parallel(k_blocks * n_packs, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t index = begin; index < end; ++index) {
      const Range k = piece(index / n_packs, product.block_k, product.k);
      const Range columns = piece(index % n_packs, pack_columns_step, product.n);
      T* to =
          panels + product.words(k.begin) * product.padded_columns + columns.begin * product.words(k.size());
      pack_columns(product, columns, k, to);
    }
  });

  const std::int64_t n_blocks = divide_up(product.n, product.block_columns);
  const std::int64_t m_blocks = divide_up(product.m, product.block_rows);
  parallel(m_blocks * n_blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    const auto rows_lease = borrow<T>(scratch, product.packed_rows_size());
    for (std::int64_t index = begin; index < end; ++index) {
      const Range rows = piece(index / n_blocks, product.block_rows, product.m);
      const Range columns = piece(index % n_blocks, product.block_columns, product.n);
      multiply_part(product, product.c, rows, columns, {0, product.k}, borrowed<T>(rows_lease), panels, true);
    }
  });
}

/// C from the partial ones of all ranges of k, in their order.
template <typename T>
void add_partials(const Product<T>& product, const T* partials, const T* partial_sums, Range rows) {
  GemmOutput<T> c = product.c;
  const std::int64_t size = product.m * product.n;
  for (std::int64_t split = 0; split < product.splits(); ++split) {
    const bool first = split == 0;
    const bool last = split + 1 == product.splits();
    const T* partial = partials + split * size + rows.begin * product.n;
    product.kernels->finish(partial, product.n, rows.size(), product.n,
                            tile_output(c, rows.begin, 0, first, last));
    if (c.row_sums == nullptr) continue;
    for (std::int64_t i = rows.begin; i < rows.end; ++i) {
      const T sum = partial_sums[split * product.m + i];
      c.row_sums[i] = c.accumulate || !first ? c.row_sums[i] + sum : sum;
    }
  }
}

/// Tasks are ranges of k.
template <typename T>
void multiply_splits(const Product<T>& product, const ParallelFor& parallel, GemmScratch& scratch) {
  const std::int64_t splits = product.splits();
  const std::int64_t size = product.m * product.n;
  const bool partial = splits > 1;
  const auto partials_lease = borrow<T>(scratch, partial ? splits * (size + product.m) : 0);
  T* partials = borrowed<T>(partials_lease);
  T* partial_sums = partials + splits * size;
  const std::int64_t rows_size = round_up(product.packed_rows_size(), 64);
  const std::int64_t panels_size = product.words(product.block_k) * product.padded_columns;
  parallel(splits, 1, [&](std::int64_t begin, std::int64_t end) {
    const auto lease = borrow<T>(scratch, rows_size + panels_size);
    T* packed_rows = borrowed<T>(lease);
    for (std::int64_t split = begin; split < end; ++split) {
      GemmOutput<T> c = product.c;
      if (partial) {
        c = {.data = partials + split * size, .stride = product.n};
        c.row_sums = product.c.row_sums == nullptr ? nullptr : partial_sums + split * product.m;
      }
      multiply_part(product, c, {0, product.m}, {0, product.n}, piece(split, product.split_k, product.k),
                    packed_rows, packed_rows + rows_size, false);
    }
  });
  if (!partial) return;
  constexpr std::int64_t kRowsAtATime = 16;
  parallel(product.m, kRowsAtATime, [&](std::int64_t begin, std::int64_t end) {
    add_partials(product, partials, partial_sums, {begin, end});
  });
}

}  // namespace

template <typename T>
void gemm(std::int64_t m, std::int64_t n, std::int64_t k, Operand<T> a, Operand<T> b, const GemmOutput<T>& c,
          const GemmContext& context) {
  if (m <= 0 || n <= 0) return;
  Product<T> product{.m = m,
                     .n = n,
                     .k = k,
                     .a = a,
                     .b = b,
                     .c = c,
                     .kernels = &gemm_kernels<T>(context.isa, context.multiply)};
  const bool serial = m * n * k < kSerialProducts;
  const ParallelFor parallel = serial ? ParallelFor() : context.parallel;
  choose_blocks(product, parallel.threads());
  if (product.split_k > 0) {
    multiply_splits(product, parallel, context.scratch);
  } else {
    multiply_blocks(product, parallel, context.scratch);
  }
}

template void gemm(std::int64_t, std::int64_t, std::int64_t, Operand<float>, Operand<float>,
                   const GemmOutput<float>&, const GemmContext&);
template void gemm(std::int64_t, std::int64_t, std::int64_t, Operand<double>, Operand<double>,
                   const GemmOutput<double>&, const GemmContext&);

}  // namespace spatialmamba::kernels
