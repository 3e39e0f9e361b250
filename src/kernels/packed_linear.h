#pragma once

#include <cstdint>

#include "kernels/aligned_vector.h"
#include "kernels/gemm.h"
#include "kernels/isa.h"
#include "kernels/partial_sums.h"
#include "kernels/row_destination.h"

namespace spatialmamba::kernels {

template <typename T>
struct GemmKernels;

/// What becomes of the products of a linear layer:
///   y = activation(x Wᵀ + bias) + residual,  or (activate_sum) activation(x Wᵀ + bias + residual)
struct LinearOutput {
  float* data;  ///< row 0, column 0 of the layer's outputs
  std::int64_t stride;
  GemmActivation activation = GemmActivation::none;
  const float* residual = nullptr;  ///< laid out by residual_stride; may be data itself
  std::int64_t residual_stride = 0;
  bool activate_sum = false;
  std::int64_t first_column = 0;  ///< stands where column 0 would, those before being left out
};

/// A block of packed rows, in memory of the caller's: PackedLinear::packed_size(rows) floats.
struct PackedRows {
  float* data;
  std::int64_t rows;
};

/// The weights of a linear layer, packed once for one instruction set. Immutable: threads may share it.
///
/// Rows of inputs are packed by the caller, a block at a time and by whatever made them, so that a
/// normalisation or a gate in front of the layer needs no pass over memory of its own. A block of packed rows
/// lies in memory as [piece of k][row][kRowWords], see gemm_kernels.h.
class PackedLinear {
 public:
  PackedLinear() = default;
  /// weights [outputs, inputs] dense, bias [outputs] or nullptr.
  PackedLinear(std::int64_t outputs, std::int64_t inputs, const float* weights, const float* bias, Isa isa,
               Multiply multiply);
  /// With kernels of the caller's, `isa` deciding the rest.
  PackedLinear(std::int64_t outputs, std::int64_t inputs, const float* weights, const float* bias, Isa isa,
               Multiply multiply, const GemmKernels<float>& kernels);

  std::int64_t inputs() const { return inputs_; }
  std::int64_t outputs() const { return outputs_; }
  /// Ranges of columns begin at multiples of this.
  std::int64_t panel_columns() const { return panel_columns_; }
  /// Rows are multiplied so many at a time.
  std::int64_t panel_rows() const;
  /// Bytes of the packed weights.
  std::int64_t bytes() const;

  /// Floats that a block of `rows` packed rows takes.
  std::int64_t packed_size(std::int64_t rows) const;
  /// Packs `count` rows of x from `row` on; of their inputs those from k on, `k_count` of them. k must be
  /// even, and the last inputs must be packed last.
  void pack(const float* x, std::int64_t stride, std::int64_t count, std::int64_t row, std::int64_t k,
            std::int64_t k_count, PackedRows packed) const;
  /// All inputs of all rows of the block.
  void pack(const float* x, std::int64_t stride, PackedRows packed) const {
    pack(x, stride, packed.rows, 0, 0, inputs_, packed);
  }
  /// For who packs a block itself: where its rows go, of which all inputs must be written.
  RowDestination destination(PackedRows packed) const;
  /// Zeros instead: k and k_count must be even.
  void clear(std::int64_t count, std::int64_t row, std::int64_t k, std::int64_t k_count,
             PackedRows packed) const;

  /// The outputs of packed rows in the columns [columns.begin, columns.end).
  void multiply(PackedRows packed, RowRange columns, const LinearOutput& output) const;
  /// All outputs, through the activation, as packed rows of the layer `next`.
  void multiply(PackedRows packed, GemmActivation activation, const PackedLinear& next,
                PackedRows next_packed) const;

 private:
  /// Zeros behind the last input of rows.
  void pad(std::int64_t count, std::int64_t row, PackedRows packed) const;
  void clear_words(std::int64_t count, std::int64_t row, RowRange words, PackedRows packed) const;
  std::int64_t panel_width(std::int64_t column) const;
  /// Whether products need nothing but to be summed up, in whole tiles.
  bool is_plain(RowRange columns, const LinearOutput& output) const;
  /// Calls finish(tile of products, row, column) for the panels of the columns; place(row, column, width)
  /// tells where the products of a tile are summed up.
  template <typename Place, typename Finish>
  void multiply_tiles(PackedRows packed, RowRange columns, Place& place, const Finish& finish) const;

  const GemmKernels<float>* kernels_ = nullptr;
  Isa isa_ = Isa::scalar;
  bool round_ = false;
  bool has_bias_ = false;  // that is not 0
  std::int64_t inputs_ = 0;
  std::int64_t outputs_ = 0;
  std::int64_t panel_columns_ = 0;
  std::int64_t words_ = 0;        // of one packed column
  std::int64_t piece_words_ = 0;  // of k that are multiplied at a time, a multiple of every panel's width
  AlignedVector<float> panels_;   // [panel][words][width of the panel]
  AlignedVector<float> bias_;     // [outputs, in whole vectors]
};

}  // namespace spatialmamba::kernels
