#pragma once

#include <cstdint>

#include "kernels/gemm_kernels.h"

namespace spatialmamba::kernels {

/// Rows of a tile register, and words of one of its rows.
inline constexpr std::int64_t kTileRows = 16;
inline constexpr std::int64_t kTileWords = 16;

/// c (=|+=) a b for up to kRowTiles tiles of rows and kVectors tiles of columns, see GemmKernels::Tile. k
/// must be a multiple of kTileWords, and the rows of whole tiles must be readable, whatever they hold.
///
/// A word holds two bf16 that follow each other in k, and a panel of B is [k][columns]: that is just how the
/// instruction wants its second factor. `Tiles` are the registers: the processor's, or in tests a model of
/// them, so that this file is tested on machines without AMX.
template <class Tiles, int kRowTiles, int kVectors>
void multiply_amx_tile(Tiles tiles, std::int64_t k, const float* a, const float* b, float* c,
                       std::int64_t stride, bool accumulate) {
  constexpr std::int64_t kColumns = kVectors * kTileWords;
  const auto each_sum = [&](auto&& use) {
    use.template operator()<0>(c);
    if constexpr (kVectors == 2) use.template operator()<1>(c + kTileWords);
    if constexpr (kRowTiles == 2) use.template operator()<2>(c + kTileRows * stride);
    if constexpr (kRowTiles == 2 && kVectors == 2) {
      use.template operator()<3>(c + kTileRows * stride + kTileWords);
    }
  };
  each_sum([&]<int kSum>(const float* at) {
    if (accumulate) {
      tiles.template load<kSum>(at, stride);
    } else {
      tiles.template zero<kSum>();
    }
  });
  // All factors before any product: the loads of a step then overlap the products of the one before.
  for (std::int64_t p = 0; p < k; p += kTileWords) {
    tiles.template load<6>(b + p * kColumns, kColumns);
    if constexpr (kVectors == 2) tiles.template load<7>(b + p * kColumns + kTileWords, kColumns);
    tiles.template load<4>(a + p, kRowWords<float>);
    if constexpr (kRowTiles == 2) {
      tiles.template load<5>(a + kTileRows * kRowWords<float> + p, kRowWords<float>);
    }
    tiles.template multiply_add<0, 4, 6>();
    if constexpr (kVectors == 2) tiles.template multiply_add<1, 4, 7>();
    if constexpr (kRowTiles == 2) tiles.template multiply_add<2, 5, 6>();
    if constexpr (kRowTiles == 2 && kVectors == 2) tiles.template multiply_add<3, 5, 7>();
  }
  each_sum([&]<int kSum>(float* at) { tiles.template store<kSum>(at, stride); });
}

template <class Tiles, int kRowTiles, int kVectors>
void multiply_amx(std::int64_t k, const float* a, const float* b, float* c, std::int64_t stride,
                  bool accumulate) {
  multiply_amx_tile<Tiles, kRowTiles, kVectors>(Tiles(), k, a, b, c, stride, accumulate);
}

/// The products of packed rows and panels by tiles; `base` are the kernels of AVX-512-BF16.
template <class Tiles>
GemmKernels<float> make_amx_kernels(const GemmKernels<float>& base) {
  GemmKernels<float> kernels = base;
  kernels.rows = 2 * kTileRows;
  kernels.word_multiple = kTileWords;
  kernels.row_multiple = kTileRows;
  for (std::int64_t count = 1; count <= kernels.rows; ++count) {
    const bool two = count > kTileRows;
    kernels.tiles[0][0][count - 1] = two ? &multiply_amx<Tiles, 2, 1> : &multiply_amx<Tiles, 1, 1>;
    kernels.tiles[0][1][count - 1] = two ? &multiply_amx<Tiles, 2, 2> : &multiply_amx<Tiles, 1, 2>;
  }
  kernels.enter = &Tiles::enter;
  kernels.leave = &Tiles::leave;
  return kernels;
}

}  // namespace spatialmamba::kernels
