#include "kernels/packed_linear.h"

#include <algorithm>

#include "kernels/gemm_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/packed_linear.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/fast_math-inl.h"
#include "kernels/row_stores-inl.h"

#ifndef SPATIALMAMBA_KERNELS_PACKED_LINEAR_SHARED
#define SPATIALMAMBA_KERNELS_PACKED_LINEAR_SHARED
namespace spatialmamba::kernels {
namespace {

/// Products on their way to the outputs.
struct ProductTile {
  const float* sums;
  std::int64_t stride;
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

// Vectors that are finished side by side: those of a whole panel.
constexpr int kGroup = kMaxVectors;

// kCoarse: what comes of it is rounded to bf16.
template <GemmActivation kActivation, bool kCoarse = false, class D, int K>
HWY_INLINE Group<D, K> activate(D d, Group<D, K> v) {
  if constexpr (kActivation == GemmActivation::relu) {
    v.each([&](int i) HWY_ATTR { return relu(d, v.at[i]); });
  }
  if constexpr (kActivation == GemmActivation::gelu) return kCoarse ? coarse_gelu(d, v) : fast_gelu(d, v);
  if constexpr (kActivation == GemmActivation::silu) return fast_silu(d, v);
  return v;
}

/// Where the residual comes in.
enum class Residual { none, before, after };

template <GemmActivation kActivation, Residual kResidual>
void finish_as(const ProductTile& tile, const LinearOutput& output) {
  for (std::int64_t i = 0; i < tile.rows; ++i) {
    const float* sums = tile.sums + i * tile.stride;
    const float* residual =
        kResidual != Residual::none ? output.residual + i * output.residual_stride : nullptr;
    float* to = output.data + i * output.stride;
    for_groups<kGroup>(
        tile.columns,
        [&](auto d, std::int64_t j) HWY_ATTR {
          auto sum = hn::Add(hn::LoadU(d, sums + j), hn::LoadU(d, tile.bias + j));
          if constexpr (kResidual == Residual::before) sum = hn::Add(sum, hn::LoadU(d, residual + j));
          return sum;
        },
        [&](auto d, const auto& group) HWY_ATTR { return activate<kActivation>(d, group); },
        [&](auto d, std::int64_t j, auto value) HWY_ATTR {
          if constexpr (kResidual == Residual::after) value = hn::Add(value, hn::LoadU(d, residual + j));
          hn::StoreU(value, d, to + j);
        });
  }
}

template <GemmActivation kActivation>
void finish_with(const ProductTile& tile, const LinearOutput& output) {
  if (output.residual == nullptr) {
    finish_as<kActivation, Residual::none>(tile, output);
  } else if (output.activate_sum) {
    finish_as<kActivation, Residual::before>(tile, output);
  } else {
    finish_as<kActivation, Residual::after>(tile, output);
  }
}

void finish(const ProductTile& tile, const LinearOutput& output) {
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

// As rows of the next layer's inputs; `row` points at the word of the tile's first column.
template <GemmActivation kActivation, RowFormat kFormat>
void pack_as(const ProductTile& tile, float* row) {
  for (std::int64_t i = 0; i < tile.rows; ++i, row += kRowWords<float>) {
    const float* sums = tile.sums + i * tile.stride;
    for_groups<kGroup>(
        tile.columns,
        [&](auto d, std::int64_t j)
            HWY_ATTR { return hn::Add(hn::LoadU(d, sums + j), hn::LoadU(d, tile.bias + j)); },
        [&](auto d, const auto& group)
            HWY_ATTR { return activate<kActivation, kFormat != RowFormat::floats>(d, group); },
        [&](auto d, std::int64_t j, auto value) HWY_ATTR { store_as<kFormat>(d, value, row, j); });
    end_row<kFormat>(row, tile.columns);
  }
}

template <RowFormat kFormat>
void pack_in(const ProductTile& tile, GemmActivation activation, float* row) {
  if (activation == GemmActivation::gelu) return pack_as<GemmActivation::gelu, kFormat>(tile, row);
  if (activation == GemmActivation::relu) return pack_as<GemmActivation::relu, kFormat>(tile, row);
  if (activation == GemmActivation::silu) return pack_as<GemmActivation::silu, kFormat>(tile, row);
  pack_as<GemmActivation::none, kFormat>(tile, row);
}

void pack_tile(const ProductTile& tile, GemmActivation activation, RowFormat format, float* row) {
  if (format == RowFormat::floats) return pack_in<RowFormat::floats>(tile, activation, row);
  if (format == RowFormat::rounded) return pack_in<RowFormat::rounded>(tile, activation, row);
  pack_in<RowFormat::pairs>(tile, activation, row);
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

constexpr std::int64_t round_up(std::int64_t a, std::int64_t b) {
  return divide_up(a, b) * b;
}

/// Where the products of a tile are summed up.
struct Sums {
  float* data;
  std::int64_t stride;
};

/// Memory for one tile after the other.
struct TileSums {
  alignas(64) float values[kMaxPanelRows * kMaxVectors * 64 / sizeof(float)];

  Sums operator()(std::int64_t, std::int64_t, std::int64_t width) { return {values, width}; }
};

/// Makes the processor ready for a thread's products while it lives.
class Products {
 public:
  explicit Products(const GemmKernels<float>& kernels) : kernels_(kernels) {
    if (kernels.enter != nullptr) kernels.enter();
  }
  ~Products() {
    if (kernels_.leave != nullptr) kernels_.leave();
  }
  Products(const Products&) = delete;
  Products& operator=(const Products&) = delete;

 private:
  const GemmKernels<float>& kernels_;
};

}  // namespace

PackedLinear::PackedLinear(std::int64_t outputs, std::int64_t inputs, const float* weights, const float* bias,
                           Isa isa, Multiply multiply)
    : PackedLinear(outputs, inputs, weights, bias, isa, multiply, packed_gemm_kernels(isa, multiply)) {}

PackedLinear::PackedLinear(std::int64_t outputs, std::int64_t inputs, const float* weights, const float* bias,
                           Isa isa, Multiply multiply, const GemmKernels<float>& kernels)
    : kernels_(&kernels), isa_(isa), round_(multiply == Multiply::bf16), inputs_(inputs), outputs_(outputs) {
  // No panel of a layer in front may straddle two pieces of k.
  constexpr std::int64_t kPieceStep = 32;
  panel_columns_ = kMaxVectors * kernels_->lanes;
  words_ = round_up(divide_up(inputs, kernels_->k_per_word), kernels_->word_multiple);
  const std::int64_t pieces = std::max<std::int64_t>(1, divide_up(words_, kBlockWords<float>));
  piece_words_ = round_up(divide_up(words_, pieces), kPieceStep);

  const std::int64_t padded = round_up(outputs, kernels_->lanes);
  panels_.resize(static_cast<std::size_t>(padded * words_));
  for (std::int64_t j = 0; j < outputs; j += panel_columns_) {
    const std::int64_t width = panel_width(j);
    kernels_->pack_transposed(weights + j * inputs, inputs, std::min(width, outputs - j), inputs, width,
                              panels_.data() + j * words_);
  }
  bias_.assign(static_cast<std::size_t>(padded), 0.0F);
  if (bias != nullptr) std::copy_n(bias, outputs, bias_.begin());
  has_bias_ = std::ranges::any_of(bias_, [](float value) { return value != 0.0F; });
}

std::int64_t PackedLinear::panel_rows() const {
  return kernels_->rows;
}

std::int64_t PackedLinear::bytes() const {
  return static_cast<std::int64_t>((panels_.size() + bias_.size()) * sizeof(float));
}

std::int64_t PackedLinear::panel_width(std::int64_t column) const {
  const std::int64_t padded = round_up(outputs_, kernels_->lanes);
  return std::min(panel_columns_, padded - column);
}

std::int64_t PackedLinear::packed_size(std::int64_t rows) const {
  // Whole tiles of rows are read of the last piece too.
  const std::int64_t beyond = round_up(rows, kernels_->row_multiple) - rows;
  return (divide_up(words_, piece_words_) * rows + beyond) * kRowWords<float>;
}

void PackedLinear::pack(const float* x, std::int64_t stride, std::int64_t count, std::int64_t row,
                        std::int64_t k, std::int64_t k_count, PackedRows packed) const {
  const std::int64_t piece = piece_words_ * kernels_->k_per_word;
  for (std::int64_t done = 0; done < k_count;) {
    const std::int64_t at = k + done;
    const std::int64_t part = std::min(k_count - done, piece - at % piece);
    float* to =
        packed.data + (at / piece * packed.rows + row) * kRowWords<float> + at % piece / kernels_->k_per_word;
    kernels_->pack_rows(x + done, stride, count, part, to);
    done += part;
  }
  if (k + k_count == inputs_) pad(count, row, packed);
}

void PackedLinear::pad(std::int64_t count, std::int64_t row, PackedRows packed) const {
  const std::int64_t filled = divide_up(inputs_, kernels_->k_per_word);
  if (filled < words_) clear_words(count, row, {filled, words_}, packed);
}

void PackedLinear::clear(std::int64_t count, std::int64_t row, std::int64_t k, std::int64_t k_count,
                         PackedRows packed) const {
  const std::int64_t last = k + k_count == inputs_ ? words_ : (k + k_count) / kernels_->k_per_word;
  clear_words(count, row, {k / kernels_->k_per_word, last}, packed);
}

void PackedLinear::clear_words(std::int64_t count, std::int64_t row, RowRange words,
                               PackedRows packed) const {
  for (std::int64_t word = words.begin; word < words.end;) {
    const std::int64_t part = std::min(words.end - word, piece_words_ - word % piece_words_);
    float* to =
        packed.data + (word / piece_words_ * packed.rows + row) * kRowWords<float> + word % piece_words_;
    for (std::int64_t i = 0; i < count; ++i) std::fill_n(to + i * kRowWords<float>, part, 0.0F);
    word += part;
  }
}

RowDestination PackedLinear::destination(PackedRows packed) const {
  pad(packed.rows, 0, packed);
  const std::int64_t per_word = kernels_->k_per_word;
  return {.data = packed.data,
          .row_stride = kRowWords<float>,
          .piece = piece_words_ * per_word,
          .piece_stride = packed.rows * kRowWords<float>,
          .format = per_word == 2 ? RowFormat::pairs
                    : round_      ? RowFormat::rounded
                                  : RowFormat::floats};
}

template <typename Place, typename Finish>
void PackedLinear::multiply_tiles(PackedRows packed, RowRange columns, Place& place,
                                  const Finish& finish_tile) const {
  // Panels of about the same height rather than a low one at the end; but whole tiles where there are such.
  const std::int64_t panels = divide_up(packed.rows, kernels_->rows);
  const std::int64_t height = kernels_->row_multiple > 1 ? kernels_->rows : divide_up(packed.rows, panels);
  const Products products(*kernels_);
  for (std::int64_t j = columns.begin; j < columns.end; j += panel_columns_) {
    const std::int64_t width = panel_width(j);
    const auto& tiles = kernels_->tiles[0][width / kernels_->lanes - 1];
    for (std::int64_t i = 0; i < packed.rows; i += height) {
      const std::int64_t count = std::min(height, packed.rows - i);
      const float* a = packed.data + i * kRowWords<float>;
      const float* b = panels_.data() + j * words_;
      const auto [sums, stride] = place(i, j, width);
      for (std::int64_t k = 0; k < words_; k += piece_words_) {
        tiles[count - 1](std::min(piece_words_, words_ - k), a, b + k * width, sums, stride, k > 0);
        a += packed.rows * kRowWords<float>;
      }
      finish_tile(ProductTile{sums, stride, count, std::min(width, columns.end - j), bias_.data() + j}, i, j);
    }
  }
}

bool PackedLinear::is_plain(RowRange columns, const LinearOutput& output) const {
  const bool whole_panels = columns.end == outputs_ || columns.end % panel_columns_ == 0;
  const bool whole_tiles = columns.end % kernels_->lanes == 0 && kernels_->row_multiple == 1;
  return whole_panels && whole_tiles && !has_bias_ && output.residual == nullptr &&
         output.activation == GemmActivation::none;
}

void PackedLinear::multiply(PackedRows packed, RowRange columns, const LinearOutput& output) const {
  const auto place_of = [&](std::int64_t row, std::int64_t column) {
    return output.data + row * output.stride + column - output.first_column;
  };
  if (is_plain(columns, output)) {
    const auto place = [&](std::int64_t row, std::int64_t column, std::int64_t) {
      return Sums{place_of(row, column), output.stride};
    };
    multiply_tiles(packed, columns, place, [](const ProductTile&, std::int64_t, std::int64_t) {});
    return;
  }
  const auto finish_tile = SPATIALMAMBA_CHOOSE(isa_, finish);
  TileSums sums;
  multiply_tiles(packed, columns, sums, [&](const ProductTile& tile, std::int64_t row, std::int64_t column) {
    LinearOutput part = output;
    part.data = place_of(row, column);
    if (part.residual != nullptr) {
      part.residual += row * output.residual_stride + column - output.first_column;
    }
    finish_tile(tile, part);
  });
}

void PackedLinear::multiply(PackedRows packed, GemmActivation activation, const PackedLinear& next,
                            PackedRows next_packed) const {
  const auto pack = SPATIALMAMBA_CHOOSE(isa_, pack_tile);
  const RowDestination to = next.destination(next_packed);
  const std::int64_t per_word = next.kernels_->k_per_word;
  TileSums sums;
  multiply_tiles(packed, {0, outputs_}, sums,
                 [&](const ProductTile& tile, std::int64_t row, std::int64_t column) {
                   pack(tile, activation, to.format,
                        to.data + column / to.piece * to.piece_stride + row * to.row_stride +
                            column % to.piece / per_word);
                 });
}

}  // namespace spatialmamba::kernels
#endif
