#include "kernels/gemm.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <optional>

#include "kernel_test.h"

namespace spatialmamba::kernels::test {
namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

template <typename T>
constexpr double kProductTolerance = std::is_same_v<T, float> ? 5e-6 : 1e-13;

constexpr Multiply kMultiplications[] = {Multiply::full, Multiply::bf16, Multiply::fp16};

struct Shape {
  std::int64_t m;
  std::int64_t n;
  std::int64_t k;
};

// One element, primes, exact tiles, one more and one less, few columns, few terms, none, many blocks of k
// (also so many that k is split), enough rows for several tasks.
const Shape kShapes[] = {{1, 1, 1},     {2, 3, 5},    {13, 31, 7},    {14, 32, 64},  {15, 33, 65},
                         {29, 6, 128},  {37, 1, 19},  {1, 70, 41},    {50, 66, 257}, {129, 70, 300},
                         {400, 97, 48}, {64, 128, 4}, {31, 40, 1501}, {6, 90, 2999}, {3, 5, 0}};

// A matrix in memory with rows wider than itself. What lies between them is NaN, so that it shows when read.
template <typename T>
struct Stored {
  Stored(std::int64_t m, std::int64_t n, bool by_columns, std::uint64_t seed)
      : rows(m), columns(n), transposed(by_columns), stride((by_columns ? m : n) + 3) {
    const std::int64_t lines = by_columns ? n : m;
    const std::int64_t length = by_columns ? m : n;
    values.assign(static_cast<std::size_t>(lines * stride), static_cast<T>(kNaN));
    const std::vector<T> numbers = random_values<T>(lines * length, seed);
    for (std::int64_t i = 0; i < lines; ++i) {
      std::copy_n(numbers.begin() + i * length, length, values.begin() + i * stride);
    }
  }
  T& at(std::int64_t i, std::int64_t j) {
    return values[static_cast<std::size_t>(transposed ? j * stride + i : i * stride + j)];
  }
  double number(std::int64_t i, std::int64_t j) const {
    return static_cast<double>(
        values[static_cast<std::size_t>(transposed ? j * stride + i : i * stride + j)]);
  }
  Operand<T> operand() const { return {values.data(), stride, transposed}; }

  std::int64_t rows;
  std::int64_t columns;
  bool transposed;
  std::int64_t stride;
  std::vector<T> values;
};

double rounded_to_bf16(double value) {
  auto bits = std::bit_cast<std::uint32_t>(static_cast<float>(value));
  const std::uint32_t lost = bits & 0xFFFFU;
  bits -= lost;
  if (lost > 0x8000U || (lost == 0x8000U && (bits & 0x10000U) != 0)) bits += 0x10000U;
  return static_cast<double>(std::bit_cast<float>(bits));
}

double rounded_to_fp16(double value) {
  const double magnitude = std::abs(value);
  if (!std::isfinite(value) || value == 0.0) return value;
  const double step = std::ldexp(1.0, std::max(std::ilogb(magnitude), -14) - 10);
  const double rounded = std::nearbyint(magnitude / step) * step;
  return std::copysign(rounded < 65536.0 ? rounded : kInfinity, value);
}

double rounded_to(Multiply multiply, double value) {
  if (multiply == Multiply::bf16) return rounded_to_bf16(value);
  return multiply == Multiply::fp16 ? rounded_to_fp16(value) : value;
}

template <typename T>
std::vector<double> plain_product(const Stored<T>& a, const Stored<T>& b,
                                  Multiply multiply = Multiply::full) {
  const auto factor = [multiply](double value) { return rounded_to(multiply, value); };
  std::vector<double> c;
  for (std::int64_t i = 0; i < a.rows; ++i) {
    for (std::int64_t j = 0; j < b.columns; ++j) {
      double sum = 0.0;
      for (std::int64_t p = 0; p < a.columns; ++p) sum += factor(a.number(i, p)) * factor(b.number(p, j));
      c.push_back(sum);
    }
  }
  return c;
}

// C of a product with rows wider than itself; fails where anything between them is written to.
template <typename T>
class Result {
 public:
  Result(std::int64_t m, std::int64_t n, std::uint64_t seed)
      : m_(m), n_(n), stride_(n + 5), values_(random_values<T>(m * stride_, seed)), before_(values_) {}

  T* data() { return values_.data(); }
  std::int64_t stride() const { return stride_; }
  std::vector<T> numbers() const { return dense_rows(values_, n_, stride_); }
  std::vector<double> numbers_before() const { return widened(dense_rows(before_, n_, stride_)); }

  void expect_rest_untouched() const {
    for (std::int64_t i = 0; i < m_ * stride_; ++i) {
      const auto index = static_cast<std::size_t>(i);
      if (i % stride_ >= n_) {
        ASSERT_EQ(values_[index], before_[index]) << "behind row " << i / stride_;
      }
    }
  }

 private:
  std::int64_t m_;
  std::int64_t n_;
  std::int64_t stride_;
  std::vector<T> values_;
  std::vector<T> before_;
};

double plain_activation(GemmActivation activation, double x) {
  switch (activation) {
    case GemmActivation::none:
      return x;
    case GemmActivation::relu:
      return std::max(x, 0.0);
    case GemmActivation::gelu:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case GemmActivation::silu:
      return x * logistic(x);
  }
  return kNaN;
}

template <typename T>
class GemmTest : public testing::Test {
 protected:
  GemmContext context(Isa isa, const ParallelFor& parallel, Multiply multiply = Multiply::full) {
    return {isa, parallel, scratch_, multiply};
  }
  GemmScratch scratch_;
};
TYPED_TEST_SUITE(GemmTest, Precisions);

TYPED_TEST(GemmTest, AgreesWithThePlainLoop) {
  using T = TypeParam;
  for (const auto& [m, n, k] : kShapes) {
    for (const int transposed : {0, 1, 2, 3}) {
      SCOPED_TRACE(fmt::format("{} x {} x {}, transposed {}", m, n, k, transposed));
      const Stored<T> a(m, k, (transposed & 1) != 0, 1);
      const Stored<T> b(k, n, (transposed & 2) != 0, 2);
      const std::vector<double> expected = plain_product(a, b);
      for_every_target([&, m = m, n = n, k = k](Isa isa, const ParallelFor& parallel) {
        Result<T> c(m, n, 3);
        gemm<T>(m, n, k, a.operand(), b.operand(), {.data = c.data(), .stride = c.stride()},
                this->context(isa, parallel));
        expect_close("C", c.numbers(), expected, kProductTolerance<T>);
        c.expect_rest_untouched();
      });
    }
  }
}

// Everything that may follow a product, in all combinations with several blocks of k and splits of it.
TYPED_TEST(GemmTest, FinishesAsAsked) {
  using T = TypeParam;
  const Shape shapes[] = {{17, 35, 20}, {130, 70, 300}, {31, 41, 1500}};
  for (const auto& [m, n, k] : shapes) {
    const Stored<T> a(m, k, false, 1);
    const Stored<T> b(k, n, true, 2);
    const std::vector<double> product = plain_product(a, b);
    const std::vector<T> bias = random_values<T>(n, 4);
    const Stored<T> residual(m, n, false, 5);
    for (int asked = 0; asked < 8; ++asked) {
      for (const auto activation :
           {GemmActivation::none, GemmActivation::relu, GemmActivation::gelu, GemmActivation::silu}) {
        SCOPED_TRACE(
            fmt::format("{} x {} x {}, {}, activation {}", m, n, k, asked, static_cast<int>(activation)));
        for_every_target([&, m = m, n = n, k = k](Isa isa, const ParallelFor& parallel) {
          Result<T> c(m, n, 3);
          Result<T> active(m, n, 6);
          GemmOutput<T> output{.data = c.data(), .stride = c.stride(), .accumulate = (asked & 1) != 0};
          if ((asked & 2) != 0) output.bias = bias.data();
          if ((asked & 4) != 0) {
            output.residual = residual.values.data();
            output.residual_stride = residual.stride;
          }
          output.activation = activation;
          output.activated = active.data();
          output.activated_stride = active.stride();
          gemm<T>(m, n, k, a.operand(), b.operand(), output, this->context(isa, parallel));

          std::vector<double> expected = product;
          std::vector<double> expected_active;
          const std::vector<double> before = c.numbers_before();
          for (std::size_t i = 0; i < expected.size(); ++i) {
            const auto row = static_cast<std::int64_t>(i) / n;
            const auto column = static_cast<std::int64_t>(i) % n;
            if (output.accumulate) expected[i] += before[i];
            if (output.bias != nullptr)
              expected[i] += static_cast<double>(bias[static_cast<std::size_t>(column)]);
            if (output.residual != nullptr) expected[i] += residual.number(row, column);
            expected_active.push_back(plain_activation(activation, expected[i]));
          }
          expect_close("C", c.numbers(), expected, kProductTolerance<T>);
          c.expect_rest_untouched();
          active.expect_rest_untouched();
          if (activation == GemmActivation::none) expected_active = active.numbers_before();
          expect_close("activated", active.numbers(), expected_active, kProductTolerance<T>);
        });
      }
    }
  }
}

TYPED_TEST(GemmTest, ActivatesInPlace) {
  using T = TypeParam;
  const Shape shape{45, 67, 333};
  const Stored<T> a(shape.m, shape.k, false, 1);
  const Stored<T> b(shape.k, shape.n, true, 2);
  std::vector<double> expected = plain_product(a, b);
  for (double& value : expected) value = plain_activation(GemmActivation::gelu, value);
  for_every_target([&](Isa isa, const ParallelFor& parallel) {
    Result<T> c(shape.m, shape.n, 3);
    gemm<T>(shape.m, shape.n, shape.k, a.operand(), b.operand(),
            {.data = c.data(),
             .stride = c.stride(),
             .activation = GemmActivation::gelu,
             .activated = c.data(),
             .activated_stride = c.stride()},
            this->context(isa, parallel));
    expect_close("C", c.numbers(), expected, kProductTolerance<T>);
  });
}

TYPED_TEST(GemmTest, SumsRows) {
  using T = TypeParam;
  const Shape shapes[] = {{17, 35, 20}, {130, 70, 300}, {70, 41, 1500}, {3, 2, 0}};
  for (const auto& [m, n, k] : shapes) {
    for (const bool transposed : {false, true}) {
      for (const bool accumulate : {false, true}) {
        SCOPED_TRACE(fmt::format("{} x {} x {}, {}, {}", m, n, k, transposed, accumulate));
        const Stored<T> a(m, k, transposed, 1);
        const Stored<T> b(k, n, false, 2);
        const std::vector<T> before = random_values<T>(m, 7);
        std::vector<double> expected(static_cast<std::size_t>(m));
        for (std::int64_t i = 0; i < m; ++i) {
          double& sum = expected[static_cast<std::size_t>(i)];
          if (accumulate) sum = static_cast<double>(before[static_cast<std::size_t>(i)]);
          for (std::int64_t p = 0; p < k; ++p) sum += a.number(i, p);
        }
        for_every_target([&, m = m, n = n, k = k](Isa isa, const ParallelFor& parallel) {
          for (const Multiply multiply : kMultiplications) {
            std::vector<T> sums = before;
            Result<T> c(m, n, 3);
            GemmOutput<T> output{.data = c.data(), .stride = c.stride(), .accumulate = accumulate};
            output.row_sums = sums.data();
            gemm<T>(m, n, k, a.operand(), b.operand(), output, this->context(isa, parallel, multiply));
            if (k > 0 || accumulate) {
              expect_close("row sums", sums, expected, kProductTolerance<T>);
            } else {
              EXPECT_EQ(widened(sums), expected);
            }
          }
        });
      }
    }
  }
}

TYPED_TEST(GemmTest, IsTheLinearLayerAndItsGradients) {
  using T = TypeParam;
  const LinearShape shape{1237, 40, 26};  // so many tokens that the weights' gradient splits them
  const Stored<T> x(shape.tokens, shape.inputs, false, 1);
  const Stored<T> dy(shape.tokens, shape.outputs, false, 2);
  Stored<T> w(shape.outputs, shape.inputs, false, 3);
  const std::vector<T> dense_w = dense_rows(w.values, shape.inputs, w.stride);

  const auto flipped = [](Stored<T> matrix) {
    std::swap(matrix.rows, matrix.columns);
    matrix.transposed = !matrix.transposed;
    return matrix;
  };
  const std::vector<double> y_expected = plain_product(x, flipped(w));
  const std::vector<double> dx_expected = plain_product(dy, w);
  const std::vector<double> dw_expected = plain_product(flipped(dy), x);
  Stored<T> ones(shape.tokens, 1, false, 4);
  for (std::int64_t i = 0; i < shape.tokens; ++i) ones.at(i, 0) = T{1};
  const std::vector<double> dbias_expected = plain_product(flipped(dy), ones);

  for_every_target([&](Isa isa, const ParallelFor& parallel) {
    const GemmContext context = this->context(isa, parallel);
    Result<T> y(shape.tokens, shape.outputs, 5);
    linear_forward<T>(shape, x.values.data(), x.stride, dense_w.data(),
                      {.data = y.data(), .stride = y.stride()}, context);
    expect_close("y", y.numbers(), y_expected, kProductTolerance<T>);
    Result<T> dx(shape.tokens, shape.inputs, 6);
    linear_input_gradient<T>(shape, dy.values.data(), dy.stride, dense_w.data(),
                             {.data = dx.data(), .stride = dx.stride()}, context);
    expect_close("dx", dx.numbers(), dx_expected, kProductTolerance<T>);
    std::vector<T> dw(dense_w.size());
    std::vector<T> dbias(static_cast<std::size_t>(shape.outputs));
    for (const bool accumulate : {false, true}) {
      linear_weight_gradient<T>(shape, dy.values.data(), dy.stride, x.values.data(), x.stride, dw.data(),
                                dbias.data(), accumulate, context);
    }
    const auto halved = [](std::vector<T> values) {
      for (T& value : values) value /= 2;
      return values;
    };
    expect_close("dw", halved(dw), dw_expected, kProductTolerance<T>);
    expect_close("dbias", halved(dbias), dbias_expected, kProductTolerance<T>);
  });
}

TYPED_TEST(GemmTest, LetsNanAndInfinityThrough) {
  using T = TypeParam;
  const Shape shape{33, 39, 600};
  for (const bool transposed : {false, true}) {
    Stored<T> a(shape.m, shape.k, transposed, 1);
    Stored<T> b(shape.k, shape.n, transposed, 2);
    a.at(3, 5) = static_cast<T>(kInfinity);
    a.at(20, 599) = static_cast<T>(-kInfinity);
    a.at(32, 300) = static_cast<T>(kNaN);
    b.at(7, 38) = static_cast<T>(kInfinity);
    b.at(599, 1) = static_cast<T>(kNaN);
    b.at(5, 11) = T{0};  // infinity times zero
    const std::vector<double> expected = plain_product(a, b);
    for_every_target([&](Isa isa, const ParallelFor& parallel) {
      for (const Multiply multiply : kMultiplications) {
        for (const auto activation : {GemmActivation::relu, GemmActivation::gelu, GemmActivation::silu}) {
          Result<T> c(shape.m, shape.n, 3);
          Result<T> active(shape.m, shape.n, 4);
          GemmOutput<T> output{.data = c.data(), .stride = c.stride(), .activation = activation};
          output.activated = active.data();
          output.activated_stride = active.stride();
          gemm<T>(shape.m, shape.n, shape.k, a.operand(), b.operand(), output,
                  this->context(isa, parallel, multiply));
          const std::vector<T> actual = c.numbers();
          const std::vector<T> activated = active.numbers();
          for (std::size_t i = 0; i < expected.size(); ++i) {
            ASSERT_EQ(std::isnan(actual[i]), std::isnan(expected[i])) << i;
            ASSERT_TRUE(std::isnan(activated[i]) || !std::isnan(expected[i])) << i;
            if (std::isinf(expected[i])) {
              ASSERT_EQ(static_cast<double>(actual[i]), expected[i]) << i;
            } else {
              ASSERT_FALSE(std::isinf(actual[i])) << i;
            }
          }
        }
      }
    });
  }
}

TYPED_TEST(GemmTest, RepeatsBitForBit) {
  using T = TypeParam;
  const Shape shapes[] = {{300, 70, 90}, {40, 50, 4000}};
  for (const auto& [m, n, k] : shapes) {
    const Stored<T> a(m, k, true, 1);
    const Stored<T> b(k, n, false, 2);
    for_every_target([&, m = m, n = n, k = k](Isa isa, const ParallelFor& parallel) {
      std::optional<std::vector<T>> first;
      for (int run = 0; run < 3; ++run) {
        std::vector<T> c(static_cast<std::size_t>(m * n));
        gemm<T>(m, n, k, a.operand(), b.operand(), {.data = c.data(), .stride = n},
                this->context(isa, parallel));
        if (!first) first = c;
        ASSERT_EQ(c, *first);
      }
    });
  }
}

// A factor times one, wherever it is packed, must be the factor rounded.
void expect_rounded(Multiply multiply, const std::vector<float>& factors, const std::vector<float>& rounded) {
  const auto count = static_cast<std::int64_t>(factors.size());
  GemmScratch scratch;
  for (const bool transposed : {false, true}) {
    for (const bool rounds_b : {false, true}) {
      for_every_target([&](Isa isa, const ParallelFor& parallel) {
        const float one = 1.0F;
        const Operand<float> column{factors.data(), transposed ? count : 1, transposed};
        const Operand<float> row{factors.data(), transposed ? 1 : count, transposed};
        std::vector<float> c(factors.size());
        const GemmContext context{isa, parallel, scratch, multiply};
        if (rounds_b) {
          gemm<float>(1, count, 1, {&one, 1}, row, {.data = c.data(), .stride = count}, context);
        } else {
          gemm<float>(count, 1, 1, column, {&one, 1}, {.data = c.data(), .stride = 1}, context);
        }
        for (std::size_t i = 0; i < c.size(); ++i) {
          ASSERT_TRUE(c[i] == rounded[i] || (std::isnan(c[i]) && std::isnan(rounded[i])))
              << factors[i] << " became " << c[i] << ", expected " << rounded[i];
        }
      });
    }
  }
}

class RoundedGemmTest : public testing::TestWithParam<Multiply> {};

TEST_P(RoundedGemmTest, AgreesWithThePlainLoopOverRoundedFactors) {
  GemmScratch scratch;
  for (const auto& [m, n, k] : kShapes) {
    for (const int transposed : {0, 1, 2, 3}) {
      SCOPED_TRACE(fmt::format("{} x {} x {}, transposed {}", m, n, k, transposed));
      const Stored<float> a(m, k, (transposed & 1) != 0, 1);
      const Stored<float> b(k, n, (transposed & 2) != 0, 2);
      const std::vector<double> expected = plain_product(a, b, GetParam());
      for_every_target([&, m = m, n = n, k = k](Isa isa, const ParallelFor& parallel) {
        Result<float> c(m, n, 3);
        gemm<float>(m, n, k, a.operand(), b.operand(), {.data = c.data(), .stride = c.stride()},
                    {isa, parallel, scratch, GetParam()});
        expect_close("C", c.numbers(), expected, kProductTolerance<float>);
        c.expect_rest_untouched();
      });
    }
  }
}

TEST_P(RoundedGemmTest, RoundsToNearestTiesToEven) {
  const float infinity = std::numeric_limits<float>::infinity();
  const float most = std::numeric_limits<float>::max();
  const std::vector<std::pair<float, float>> bf16 = {
      {0.0F, 0.0F},
      {1.0F, 1.0F},
      {-3.140625F, -3.140625F},                    // has 8 bits
      {1.0F + 0x1p-8F, 1.0F},                      // half way, to the even one below
      {1.0F + 3 * 0x1p-8F, 1.0F + 4 * 0x1p-8F},    // half way, to the even one above
      {-(1.0F + 3 * 0x1p-8F), -(1.0F + 0x1p-6F)},  //
      {1.0F + 0x1.0002p-8F, 1.0F + 0x1p-7F},       // just above half way
      {1.0F + 0x1.fffcp-9F, 1.0F},                 // just below
      {0x1.ffp0F, 2.0F},                           // into the next exponent
      {0x1.0000fep-120F, 0x1p-120F},
      {0x1.fep127F, 0x1.fep127F},  // the largest of all
      {most, infinity},
      {-infinity, -infinity},
  };
  const std::vector<std::pair<float, float>> fp16 = {
      {0.0F, 0.0F},
      {-3.140625F, -3.140625F},                     // has 11 bits
      {1.0F + 0x1p-11F, 1.0F},                      // half way, to the even one below
      {1.0F + 3 * 0x1p-11F, 1.0F + 4 * 0x1p-11F},   // half way, to the even one above
      {-(1.0F + 3 * 0x1p-11F), -(1.0F + 0x1p-9F)},  //
      {1.0F + 0x1.008p-11F, 1.0F + 0x1p-10F},       // just above half way
      {0x1.fffp0F, 2.0F},                           // into the next exponent
      {65504.0F, 65504.0F},                         // the largest of all
      {65519.99F, 65504.0F},                        // the last that is nearer to it
      {65520.0F, infinity},
      {-1e6F, -infinity},
      {most, infinity},
      {0x1p-14F, 0x1p-14F},          // the least normal one
      {0x1.ffbp-15F, 0x1.ff8p-15F},  // below it steps are as large as above
      {0x1.ffcp-15F, 0x1p-14F},      // half way, to the even one
      {0x1p-24F, 0x1p-24F},          // the least of all
      {-0x1.8p-24F, -0x1p-23F},      // half way, to the even one
      {0x1p-25F, 0.0F},
      {0x1.0002p-25F, 0x1p-24F},
      {-infinity, -infinity},
  };
  std::vector<float> factors;
  std::vector<float> rounded;
  for (const auto& [value, nearest] : GetParam() == Multiply::bf16 ? bf16 : fp16) {
    factors.push_back(value);
    rounded.push_back(nearest);
  }
  expect_rounded(GetParam(), factors, rounded);
}

INSTANTIATE_TEST_SUITE_P(Precisions, RoundedGemmTest, testing::Values(Multiply::bf16, Multiply::fp16),
                         [](const auto& instance) {
                           return instance.param == Multiply::bf16 ? "bf16" : "fp16";
                         });

// Numbers of all magnitudes, among them denormal ones, infinities and NaN.
TEST(GemmFp16Test, RoundsWhateverTheBitsAre) {
  constexpr int kCount = 20'000;
  Random random(3);
  std::vector<float> factors;
  std::vector<float> rounded;
  for (int i = 0; i < kCount; ++i) {
    auto value = std::bit_cast<float>(static_cast<std::uint32_t>(random.bits()));
    // Every second one in the range of halves: of the others most become 0 or infinite.
    int exponent = 0;
    if (i % 2 == 0) value = std::ldexp(std::frexp(value, &exponent), i % 44 - 26);
    factors.push_back(value);
    rounded.push_back(static_cast<float>(rounded_to_fp16(static_cast<double>(value))));
  }
  expect_rounded(Multiply::fp16, factors, rounded);
}

TEST(GemmScratchTest, KeepsWhatIsGivenBack) {
  GemmScratch scratch;
  const std::byte* first = nullptr;
  {
    const auto a = scratch.borrow(100);
    const auto b = scratch.borrow(1000);
    EXPECT_NE(a.data(), b.data());
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(a.data()) % 64, 0U);
    first = a.data();
  }
  const auto a = scratch.borrow(50);
  const auto b = scratch.borrow(60);
  EXPECT_TRUE(a.data() == first || b.data() == first);
  const auto large = scratch.borrow(std::size_t{1} << 22);
  std::fill_n(large.data(), std::size_t{1} << 22, std::byte{1});
}

}  // namespace
}  // namespace spatialmamba::kernels::test
