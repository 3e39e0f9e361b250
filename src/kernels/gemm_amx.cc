#include "hwy/detect_targets.h"
#include "kernels/gemm_kernels.h"

#if HWY_ARCH_X86

#include <immintrin.h>

#include "kernels/gemm_amx-inl.h"

namespace spatialmamba::kernels {
namespace {

#pragma GCC push_options
#pragma GCC target("amx-tile,amx-bf16")

/// The layout of the tile registers as the instruction that configures them reads it.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

constexpr TileConfig full_tiles() {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = kTileWords * sizeof(float);
    config.rows[i] = kTileRows;
  }
  return config;
}

/// The processor's tile registers. Strides count words. (GCC's intrinsics take no number of a tile that is a
/// template argument.)
struct HardwareTiles {
  static void enter() {
    static constexpr TileConfig kConfig = full_tiles();
    _tile_loadconfig(&kConfig);
  }
  static void leave() { _tile_release(); }

  template <int kTile>
  void zero() const {
    asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  void load(const float* from, std::int64_t stride) const {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(from), "r"(bytes(stride)), "i"(kTile) : "memory");
  }
  template <int kTile>
  void store(float* to, std::int64_t stride) const {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(to), "r"(bytes(stride)), "i"(kTile) : "memory");
  }
  template <int kSum, int kA, int kB>
  void multiply_add() const {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSum), "i"(kA), "i"(kB));
  }

 private:
  static std::int64_t bytes(std::int64_t words) { return words * static_cast<std::int64_t>(sizeof(float)); }
};

#pragma GCC pop_options

}  // namespace

const GemmKernels<float>* gemm_kernels_amx(const GemmKernels<float>& base) {
  static const GemmKernels<float> kernels = make_amx_kernels<HardwareTiles>(base);
  return &kernels;
}

}  // namespace spatialmamba::kernels

#else

namespace spatialmamba::kernels {

const GemmKernels<float>* gemm_kernels_amx(const GemmKernels<float>&) {
  return nullptr;
}

}  // namespace spatialmamba::kernels

#endif
