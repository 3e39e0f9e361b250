#include "kernels/winograd.h"

#include <numbers>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/winograd.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/fast_math-inl.h"

#ifndef SPATIALMAMBA_KERNELS_WINOGRAD_SHARED
#define SPATIALMAMBA_KERNELS_WINOGRAD_SHARED
namespace spatialmamba::kernels {
namespace {

/// The matrices of F(m, 3): input Bᵀ, output Aᵀ, filter G.
template <int kOutputs>
struct WinogradMatrices;

template <>
struct WinogradMatrices<2> {
  static constexpr double kInput[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, -1, 0, 1}};
  static constexpr double kOutput[2][4] = {{1, 1, 1, 0}, {0, 1, -1, 1}};
  static constexpr double kFilter[4][3] = {{1, 0, 0}, {0.5, 0.5, 0.5}, {0.5, -0.5, 0.5}, {0, 0, 1}};
};

template <>
struct WinogradMatrices<4> {
  static constexpr double kRoot = std::numbers::sqrt2;
  static constexpr double kHalf = std::numbers::sqrt2 / 2;
  static constexpr double kInput[6][6] = {{1, 0, -2.5, 0, 1, 0},          {0, -kRoot, -2, kHalf, 1, 0},
                                          {0, kRoot, -2, -kHalf, 1, 0},   {0, -kHalf, -0.5, kRoot, 1, 0},
                                          {0, kHalf, -0.5, -kRoot, 1, 0}, {0, 1, 0, -2.5, 0, 1}};
  static constexpr double kOutput[4][6] = {{1, 1, 1, 1, 1, 0},
                                           {0, kHalf, -kHalf, kRoot, -kRoot, 0},
                                           {0, 0.5, 0.5, 2, 2, 0},
                                           {0, kHalf / 2, -kHalf / 2, 2 * kRoot, -2 * kRoot, 1}};
  static constexpr double kFilter[6][3] = {{1, 0, 0},
                                           {-2.0 / 3, -2 * kHalf / 3, -1.0 / 3},
                                           {-2.0 / 3, 2 * kHalf / 3, -1.0 / 3},
                                           {1.0 / 6, kRoot / 6, 1.0 / 3},
                                           {1.0 / 6, -kRoot / 6, 1.0 / 3},
                                           {0, 0, 1}};
};

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

// The sum of values times the coefficients, which the compiler knows: those that are 0 cost nothing.
template <int kCount, class D, class Values>
HWY_INLINE hn::Vec<D> combine(D d, const double (&coefficients)[kCount], const Values& values) {
  auto sum = hn::Zero(d);
#pragma GCC unroll 6
  for (int i = 0; i < kCount; ++i) {
    const auto coefficient = static_cast<float>(coefficients[i]);
    if (coefficient == 0.0F) continue;
    if (coefficient == 1.0F) {
      sum = hn::Add(sum, values(i));
    } else if (coefficient == -1.0F) {
      sum = hn::Sub(sum, values(i));
    } else {
      sum = hn::MulAdd(hn::Set(d, coefficient), values(i), sum);
    }
  }
  return sum;
}

// pixel(i, j) is where the pixel of row i and column j begins.
template <int kOutputs, int kRow, typename Pixel>
HWY_INLINE void transform_row(const Pixel& pixel, std::int64_t channels, float* out, std::int64_t stride) {
  using Matrices = WinogradMatrices<kOutputs>;
  constexpr int kInputs = kOutputs + 2;
  for_vectors<float>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
    hn::Vec<decltype(d)> columns[kInputs];
#pragma GCC unroll 6
    for (int j = 0; j < kInputs; ++j) {
      columns[j] =
          combine(d, Matrices::kInput[kRow], [&](int i) HWY_ATTR { return hn::LoadU(d, pixel(i, j) + c); });
    }
#pragma GCC unroll 6
    for (int j = 0; j < kInputs; ++j) {
      hn::StoreU(combine(d, Matrices::kInput[j], [&](int i) HWY_ATTR { return columns[i]; }), d,
                 out + j * stride + c);
    }
  });
}

template <int kOutputs, int kRow>
void input_row(const WinogradPixels& pixels, std::int64_t channels, float* out, std::int64_t stride) {
  if (pixels.each == nullptr) {
    transform_row<kOutputs, kRow>(
        [&](int i, int j)
            HWY_ATTR { return pixels.first + i * pixels.row_stride + j * pixels.column_stride; },
        channels, out, stride);
  } else {
    constexpr int kInputs = kOutputs + 2;
    transform_row<kOutputs, kRow>([&](int i, int j) HWY_ATTR { return pixels.each[i * kInputs + j]; },
                                  channels, out, stride);
  }
}

template <int kOutputs>
void output_tile(const float* products, std::int64_t stride, std::int64_t channels,
                 const WinogradOutput& output) {
  using Matrices = WinogradMatrices<kOutputs>;
  constexpr int kInputs = kOutputs + 2;
  for_vectors<float>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
    hn::Vec<decltype(d)> rows[kOutputs][kInputs];
#pragma GCC unroll 6
    for (int j = 0; j < kInputs; ++j) {
      hn::Vec<decltype(d)> column[kInputs];
#pragma GCC unroll 6
      for (int i = 0; i < kInputs; ++i) column[i] = hn::LoadU(d, products + (i * kInputs + j) * stride + c);
#pragma GCC unroll 4
      for (int y = 0; y < kOutputs; ++y) {
        rows[y][j] = combine(d, Matrices::kOutput[y], [&](int i) HWY_ATTR { return column[i]; });
      }
    }
    const auto bias = hn::LoadU(d, output.bias + c);
#pragma GCC unroll 4
    for (int y = 0; y < kOutputs; ++y) {
      if (y >= output.rows) break;
#pragma GCC unroll 4
      for (int x = 0; x < kOutputs; ++x) {
        if (x >= output.columns) break;
        auto value =
            hn::Add(combine(d, Matrices::kOutput[x], [&](int j) HWY_ATTR { return rows[y][j]; }), bias);
        if (output.relu) value = relu(d, value);
        const std::int64_t at = y * output.row_stride + x * output.column_stride + c;
        if (output.residual != nullptr) value = hn::Add(value, hn::LoadU(d, output.residual + at));
        hn::StoreU(value, d, output.data + at);
      }
    }
  });
}

using InputRow = void (*)(const WinogradPixels& pixels, std::int64_t channels, float* out,
                          std::int64_t stride);

InputRow input_rows(WinogradTile tile, std::int64_t row) {
  static constexpr InputRow kOfTwo[] = {&input_row<2, 0>, &input_row<2, 1>, &input_row<2, 2>,
                                        &input_row<2, 3>};
  static constexpr InputRow kOfFour[] = {&input_row<4, 0>, &input_row<4, 1>, &input_row<4, 2>,
                                         &input_row<4, 3>, &input_row<4, 4>, &input_row<4, 5>};
  return tile == WinogradTile::two ? kOfTwo[row] : kOfFour[row];
}

void outputs(WinogradTile tile, const float* products, std::int64_t stride, std::int64_t channels,
             const WinogradOutput& output) {
  const auto form = tile == WinogradTile::two ? &output_tile<2> : &output_tile<4>;
  form(products, stride, channels, output);
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

template <int kOutputs>
std::array<double, 9> filter_factors(std::int64_t row, std::int64_t column) {
  const auto& filter = WinogradMatrices<kOutputs>::kFilter;
  std::array<double, 9> factors{};
  for (std::size_t k = 0; k < factors.size(); ++k) factors[k] = filter[row][k / 3] * filter[column][k % 3];
  return factors;
}

}  // namespace

std::array<double, 9> winograd_filter(WinogradTile tile, std::int64_t row, std::int64_t column) {
  return tile == WinogradTile::two ? filter_factors<2>(row, column) : filter_factors<4>(row, column);
}

void winograd_input_row(WinogradTile tile, std::int64_t row, const WinogradPixels& pixels,
                        std::int64_t channels, float* out, std::int64_t stride, Isa isa) {
  SPATIALMAMBA_CHOOSE(isa, input_rows)(tile, row)(pixels, channels, out, stride);
}

void winograd_output(WinogradTile tile, const float* products, std::int64_t stride, std::int64_t channels,
                     const WinogradOutput& output, Isa isa) {
  SPATIALMAMBA_CHOOSE(isa, outputs)(tile, products, stride, channels, output);
}

}  // namespace spatialmamba::kernels
#endif
