#include "kernels/packed_linear.h"

#include <algorithm>

#include "kernels/gemm_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/packed_linear.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/fast_math-inl.h"

#ifndef SPATIALMAMBA_KERNELS_PACKED_LINEAR_SHARED
#define SPATIALMAMBA_KERNELS_PACKED_LINEAR_SHARED
namespace spatialmamba::kernels {
namespace {

/// A block of products on its way to the outputs.
struct FinishedTile {
  const float* sums;
  std::int64_t sums_stride;
  std::int64_t rows;
  std::int64_t columns;
  const float* bias;
};

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

template <GemmActivation kActivation, class D>
HWY_INLINE hn::Vec<D> activate(D d, hn::Vec<D> v) {
  if constexpr (kActivation == GemmActivation::relu) return hn::Max(hn::Zero(d), v);  // NaN stays NaN
  if constexpr (kActivation == GemmActivation::gelu) return fast_gelu(d, v);
  if constexpr (kActivation == GemmActivation::silu) return fast_silu(d, v);
  return v;
}

template <GemmActivation kActivation, bool kResidual>
void finish_as(const FinishedTile& tile, const LinearOutput& output) {
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const float* sums = tile.sums + i * tile.sums_stride;
    const float* residual = kResidual ? output.residual + i * output.residual_stride : nullptr;
    float* to = output.data + i * output.stride;
    for_vectors<float>(0, tile.columns, [&](auto d, std::int64_t j) HWY_ATTR {
      const auto sum = hn::Add(hn::LoadU(d, sums + j), hn::LoadU(d, tile.bias + j));
      auto value = activate<kActivation>(d, sum);
      if constexpr (kResidual) value = hn::Add(value, hn::LoadU(d, residual + j));
      hn::StoreU(value, d, to + j);
    });
  }
}

template <GemmActivation kActivation>
void finish_with(const FinishedTile& tile, const LinearOutput& output) {
  if (output.residual == nullptr) {
    finish_as<kActivation, false>(tile, output);
  } else {
    finish_as<kActivation, true>(tile, output);
  }
}

void finish(const FinishedTile& tile, const LinearOutput& output) {
  switch (output.activation) {
    case GemmActivation::none:
      return finish_with<GemmActivation::none>(tile, output);
    case GemmActivation::relu:
      return finish_with<GemmActivation::relu>(tile, output);
    case GemmActivation::gelu:
      return finish_with<GemmActivation::gelu>(tile, output);
    case GemmActivation::silu:
      return finish_with<GemmActivation::silu>(tile, output);
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

constexpr std::int64_t divide_up(std::int64_t a, std::int64_t b) {
  return (a + b - 1) / b;
}

}  // namespace

PackedLinear::PackedLinear(std::int64_t outputs, std::int64_t inputs, const float* weights, const float* bias,
                           Isa isa, Multiply multiply)
    : kernels_(&gemm_kernels<float>(isa, multiply)), isa_(isa), inputs_(inputs), outputs_(outputs) {
  panel_columns_ = kMaxVectors * kernels_->lanes;
  words_ = divide_up(inputs, kernels_->k_per_word);
  const std::int64_t pieces = std::max<std::int64_t>(1, divide_up(words_, kBlockWords<float>));
  piece_words_ = divide_up(words_, pieces);

  const std::int64_t padded = divide_up(outputs, kernels_->lanes) * kernels_->lanes;
  panels_.resize(static_cast<std::size_t>(padded * words_));
  for (std::int64_t j = 0; j < outputs; j += panel_columns_) {
    const std::int64_t width = panel_width(j);
    kernels_->pack_transposed(weights + j * inputs, inputs, std::min(width, outputs - j), inputs, width,
                              panels_.data() + j * words_);
  }
  bias_.assign(static_cast<std::size_t>(padded), 0.0F);
  if (bias != nullptr) std::copy_n(bias, outputs, bias_.begin());
}

std::int64_t PackedLinear::panel_rows() const {
  return kernels_->rows;
}

std::int64_t PackedLinear::bytes() const {
  return static_cast<std::int64_t>((panels_.size() + bias_.size()) * sizeof(float));
}

std::int64_t PackedLinear::panel_width(std::int64_t column) const {
  const std::int64_t padded = divide_up(outputs_, kernels_->lanes) * kernels_->lanes;
  return std::min(panel_columns_, padded - column);
}

std::int64_t PackedLinear::packed_size(std::int64_t rows) const {
  return divide_up(words_, piece_words_) * rows * kRowWords<float>;
}

void PackedLinear::pack_row(const float* x, std::int64_t row, std::int64_t rows, float* packed) const {
  const std::int64_t piece = piece_words_ * kernels_->k_per_word;
  for (std::int64_t k = 0; k < inputs_; k += piece) {
    kernels_->pack_rows(x + k, 0, 1, std::min(piece, inputs_ - k), packed + row * kRowWords<float>);
    packed += rows * kRowWords<float>;
  }
}

void PackedLinear::multiply(std::int64_t rows, const float* packed, RowRange columns,
                            const LinearOutput& output) const {
  const auto finish_tile = SPATIALMAMBA_CHOOSE(isa_, finish);
  // Panels of about the same height rather than a low one at the end.
  const std::int64_t panels = divide_up(rows, kernels_->rows);
  const std::int64_t height = divide_up(rows, panels);
  alignas(64) float tile[kMaxPanelRows * kMaxVectors * 64 / sizeof(float)];
  for (std::int64_t j = columns.begin; j < columns.end; j += panel_columns_) {
    const std::int64_t width = panel_width(j);
    const auto& tiles = kernels_->tiles[0][width / kernels_->lanes - 1];
    for (std::int64_t i = 0; i < rows; i += height) {
      const std::int64_t count = std::min(height, rows - i);
      const float* a = packed + i * kRowWords<float>;
      const float* b = panels_.data() + j * words_;
      for (std::int64_t k = 0; k < words_; k += piece_words_) {
        tiles[count - 1](std::min(piece_words_, words_ - k), a, b + k * width, tile, width, k > 0);
        a += rows * kRowWords<float>;
      }
      LinearOutput part = output;
      part.data += i * output.stride + j;
      if (part.residual != nullptr) part.residual += i * output.residual_stride + j;
      finish_tile({tile, width, count, std::min(width, columns.end - j), bias_.data() + j}, part);
    }
  }
}

}  // namespace spatialmamba::kernels
#endif
