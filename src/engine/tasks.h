#pragma once

#include <algorithm>
#include <cstdint>

#include "base/parallel.h"
#include "kernels/gemm.h"
#include "kernels/packed_linear.h"

namespace spatialmamba::engine {

inline constexpr std::int64_t kLine = 16;  ///< floats of a cache line

using kernels::RowRange;

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

/// A share of a layer's work: some rows (tokens), and one of `splits` shares of their outputs.
struct Task {
  RowRange rows;
  std::int64_t split = 0;
  std::int64_t splits = 1;

  std::int64_t count() const { return rows.end - rows.begin; }
  /// The columns of a layer that belong to this share, in whole panels; none where there are too few.
  RowRange columns(const kernels::PackedLinear& layer) const {
    const std::int64_t panels = divide_up(layer.outputs(), layer.panel_columns());
    const auto border = [&](std::int64_t i) {
      return std::min(panels * i / splits * layer.panel_columns(), layer.outputs());
    };
    return {border(split), border(split + 1)};
  }
};

/// Cuts rows into tasks for a number of threads: blocks of rows that stay in a second-level cache and use the
/// weights that pass by again and again. Where there are few rows, it is the outputs that are shared out, so
/// that each thread reads a share of the weights; what stands in front of the layer is then done once per
/// share.
class TaskGrid {
 public:
  TaskGrid(std::int64_t rows, std::int64_t panel_rows, int threads) : rows_(rows) {
    constexpr std::int64_t kFewPanels = 4;  // per thread
    const std::int64_t panels = divide_up(rows, panel_rows);
    std::int64_t blocks = divide_up(panels, kMostPanels);
    if (panels >= kFewPanels * threads) blocks = divide_up(blocks, threads) * threads;
    cut(blocks);
    splits_ = blocks_ >= threads ? 1 : divide_up(threads, blocks_);
  }

  /// For what stands in front of a layer that is small beside it: rows alone are shared out, however few.
  static TaskGrid by_rows(std::int64_t rows, std::int64_t panel_rows, int threads) {
    TaskGrid grid(rows);
    const std::int64_t blocks = divide_up(rows, kMostPanels * panel_rows);
    grid.cut(std::min(divide_up(blocks, threads) * threads, rows));
    return grid;
  }

  std::int64_t count() const { return blocks_ * splits_; }
  std::int64_t block_rows() const { return block_rows_; }
  std::int64_t splits() const { return splits_; }
  Task operator[](std::int64_t i) const {
    const std::int64_t first = i / splits_ * block_rows_;
    return {{first, std::min(first + block_rows_, rows_)}, i % splits_, splits_};
  }

 private:
  static constexpr std::int64_t kMostPanels = 8;

  explicit TaskGrid(std::int64_t rows) : rows_(rows) {}
  void cut(std::int64_t blocks) {
    block_rows_ = divide_up(rows_, blocks);
    blocks_ = divide_up(rows_, block_rows_);
  }

  std::int64_t rows_;
  std::int64_t block_rows_ = 1;
  std::int64_t blocks_ = 1;
  std::int64_t splits_ = 1;
};

/// Memory of one thread while it works on tasks, handed out piece by piece.
class TaskMemory {
 public:
  TaskMemory(kernels::GemmScratch& scratch, std::int64_t floats)
      : lease_(scratch.borrow(static_cast<std::size_t>(floats + kSlack) * sizeof(float))) {}

  /// Forgets what was handed out.
  void reset() { used_ = 0; }
  float* take(std::int64_t floats) {
    auto* piece = reinterpret_cast<float*>(lease_.data()) + used_;
    used_ += divide_up(floats, kLine) * kLine;
    return piece;
  }
  kernels::PackedRows take_packed(const kernels::PackedLinear& layer, std::int64_t rows) {
    return {take(layer.packed_size(rows)), rows};
  }

 private:
  static constexpr std::int64_t kSlack = 16 * kLine;  // for rounding up, piece by piece

  kernels::GemmScratch::Lease lease_;
  std::int64_t used_ = 0;
};

}  // namespace spatialmamba::engine
