// The products by AMX tiles, on a model of the tile registers, so that every machine with AVX-512-BF16 (which
// packs the factors) runs them.
#include <array>
#include <bit>

#include "kernels/gemm_amx-inl.h"
#include "kernels/kernel_test.h"
#include "kernels/packed_linear.h"

namespace spatialmamba::kernels::test {
namespace {

/// The tile registers and instructions as the processor's manual defines them.
class ModelTiles {
 public:
  static void enter() {}
  static void leave() {}

  template <int kTile>
  void zero() {
    tiles_[kTile].fill(0.0F);
  }
  template <int kTile>
  void load(const float* from, std::int64_t stride) {
    for (std::int64_t row = 0; row < kTileRows; ++row) {
      for (std::int64_t word = 0; word < kTileWords; ++word) at(kTile, row, word) = from[row * stride + word];
    }
  }
  template <int kTile>
  void store(float* to, std::int64_t stride) {
    for (std::int64_t row = 0; row < kTileRows; ++row) {
      for (std::int64_t word = 0; word < kTileWords; ++word) to[row * stride + word] = at(kTile, row, word);
    }
  }
  template <int kSum, int kA, int kB>
  void multiply_add() {
    for (std::int64_t row = 0; row < kTileRows; ++row) {
      for (std::int64_t k = 0; k < kTileWords; ++k) {
        for (std::int64_t column = 0; column < kTileWords; ++column) {
          at(kSum, row, column) += lower(at(kA, row, k)) * lower(at(kB, k, column)) +
                                   upper(at(kA, row, k)) * upper(at(kB, k, column));
        }
      }
    }
  }

 private:
  float& at(int tile, std::int64_t row, std::int64_t word) {
    return tiles_[static_cast<std::size_t>(tile)][static_cast<std::size_t>(row * kTileWords + word)];
  }
  static float lower(float pair) { return std::bit_cast<float>(std::bit_cast<std::uint32_t>(pair) << 16); }
  static float upper(float pair) {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(pair) & 0xFFFF0000U);
  }

  std::array<std::array<float, kTileRows * kTileWords>, 8> tiles_{};
};

float rounded(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  return std::bit_cast<float>((bits + 0x7FFFU + ((bits >> 16) & 1U)) & 0xFFFF0000U);
}

std::vector<double> reference(std::int64_t rows, std::int64_t inputs, std::int64_t outputs,
                              const std::vector<float>& x, const std::vector<float>& w,
                              const std::vector<float>& bias) {
  std::vector<double> y;
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t o = 0; o < outputs; ++o) {
      double sum = static_cast<double>(bias[static_cast<std::size_t>(o)]);
      for (std::int64_t k = 0; k < inputs; ++k) {
        sum += static_cast<double>(rounded(x[static_cast<std::size_t>(i * inputs + k)])) *
               static_cast<double>(rounded(w[static_cast<std::size_t>(o * inputs + k)]));
      }
      y.push_back(sum);
    }
  }
  return y;
}

TEST(Amx, PackedLinearByTiles) {
  const std::vector<Isa> isas = supported_isas();
  if (std::ranges::find(isas, Isa::avx512bf16) == isas.end()) {
    GTEST_SKIP() << "this machine cannot pack pairs of bf16";
  }
  const GemmKernels<float> kernels =
      make_amx_kernels<ModelTiles>(packed_gemm_kernels(Isa::avx512bf16, Multiply::bf16));
  std::uint64_t seed = 1;
  for (const std::int64_t rows : {1, 15, 16, 17, 33, 64}) {
    for (const std::int64_t inputs : {1, 31, 32, 36, 130, 513, 1100}) {
      for (const std::int64_t outputs : {1, 16, 17, 48, 65}) {
        SCOPED_TRACE(testing::Message() << rows << " x " << inputs << " x " << outputs);
        const auto x = random_values<float>(rows * inputs, ++seed);
        const auto w = random_values<float>(outputs * inputs, ++seed);
        const auto bias = random_values<float>(outputs, ++seed);
        const PackedLinear linear(outputs, inputs, w.data(), bias.data(), Isa::avx512bf16, Multiply::bf16,
                                  kernels);
        // What lies behind the rows may be anything.
        AlignedVector<float> memory(static_cast<std::size_t>(linear.packed_size(rows)), NAN);
        const PackedRows packed{memory.data(), rows};
        linear.pack(x.data(), inputs, packed);
        std::vector<float> y(static_cast<std::size_t>(rows * outputs));
        linear.multiply(packed, {0, outputs}, {.data = y.data(), .stride = outputs});
        expect_close("y", y, reference(rows, inputs, outputs, x, w, bias));
      }
    }
  }
}

TEST(Amx, HandsRowsToTheNextLayer) {
  const std::vector<Isa> isas = supported_isas();
  if (std::ranges::find(isas, Isa::avx512bf16) == isas.end()) {
    GTEST_SKIP() << "this machine cannot pack pairs of bf16";
  }
  const GemmKernels<float> kernels =
      make_amx_kernels<ModelTiles>(packed_gemm_kernels(Isa::avx512bf16, Multiply::bf16));
  constexpr std::int64_t kRows = 37;
  constexpr std::int64_t kInputs = 24;
  for (const std::int64_t hidden : {1, 33, 96, 600}) {
    constexpr std::int64_t kOutputs = 20;
    const auto x = random_values<float>(kRows * kInputs, 1);
    const auto w1 = random_values<float>(hidden * kInputs, 2);
    const auto w2 = random_values<float>(kOutputs * hidden, 3);
    const std::vector<float> no_bias(600);
    const PackedLinear first(hidden, kInputs, w1.data(), nullptr, Isa::avx512bf16, Multiply::bf16, kernels);
    const PackedLinear second(kOutputs, hidden, w2.data(), nullptr, Isa::avx512bf16, Multiply::bf16, kernels);
    AlignedVector<float> memory(static_cast<std::size_t>(first.packed_size(kRows)), NAN);
    AlignedVector<float> between(static_cast<std::size_t>(second.packed_size(kRows)), NAN);
    first.pack(x.data(), kInputs, {memory.data(), kRows});
    first.multiply({memory.data(), kRows}, GemmActivation::relu, second, {between.data(), kRows});
    std::vector<float> y(kRows * kOutputs);
    second.multiply({between.data(), kRows}, {0, kOutputs}, {.data = y.data(), .stride = kOutputs});

    std::vector<float> middle;
    for (const double v : reference(kRows, kInputs, hidden, x, w1, no_bias)) {
      middle.push_back(std::max(0.0F, static_cast<float>(v)));
    }
    // A sum just beside the middle of two bf16 may be rounded to either.
    expect_close("y", y, reference(kRows, hidden, kOutputs, middle, w2, no_bias), 2e-3);
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::test
