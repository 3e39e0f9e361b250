#pragma once

#include <array>
#include <cstdint>

#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// Minimal filtering F(m x m, 3 x 3) (Winograd, 1980; Lavin and Gray, 2016): m x m outputs of a 3x3
/// convolution with stride 1 from a tile of n x n inputs, n = m + 2, by n² products for each pair of
/// channels, where plain sums take 9 m²:
///   Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ x B) ] A
/// For each of the n² places of a tile, the products and their sum over the input channels are one matrix
/// product over all tiles; it stands between the two functions below.
///
/// The polynomials behind A, B and G are evaluated at 0, ±1 and infinity (m = 2), or at 0, ±1/√2, ±√2 and
/// infinity (m = 4): with the usual ±1 and ±2, single precision loses four times as much.
enum class WinogradTile : std::int64_t { two = 2, four = 4 };  ///< m

constexpr std::int64_t outputs_of(WinogradTile tile) {
  return static_cast<std::int64_t>(tile);
}
/// n, of a side.
constexpr std::int64_t inputs_of(WinogradTile tile) {
  return outputs_of(tile) + 2;
}
inline constexpr std::int64_t kMostTileInputs = 6;

/// The factors of the kernel's taps in (G g Gᵀ) at place (row, column): that is their sum, [3][3].
std::array<double, 9> winograd_filter(WinogradTile tile, std::int64_t row, std::int64_t column);

/// The pixels of a tile of inputs, each of all channels: strides apart, or, where `each` is given, at [n][n]
/// addresses.
struct WinogradPixels {
  const float* first = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t column_stride = 0;
  const float* const* each = nullptr;
};

/// Row `row` of Bᵀ x B: place (row, j) of all channels to out + j * stride. One thread.
void winograd_input_row(WinogradTile tile, std::int64_t row, const WinogradPixels& pixels,
                        std::int64_t channels, float* out, std::int64_t stride, Isa isa);

/// Where a tile of outputs goes: rows x columns pixels of it, at most m x m.
struct WinogradOutput {
  float* data;
  std::int64_t row_stride;
  std::int64_t column_stride;
  std::int64_t rows;
  std::int64_t columns;
  const float* bias;  ///< [channels]
  bool relu;
  const float* residual;  ///< laid out like data, added behind the rectifier; nullptr: none
};

/// Aᵀ M A of all channels, plus bias, rectifier and residual: place (i, j) of M at products + (i n + j) *
/// stride. One thread.
void winograd_output(WinogradTile tile, const float* products, std::int64_t stride, std::int64_t channels,
                     const WinogradOutput& output, Isa isa);

}  // namespace spatialmamba::kernels
