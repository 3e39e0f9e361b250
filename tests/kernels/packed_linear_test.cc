#include "kernels/packed_linear.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "kernel_test.h"

namespace spatialmamba::kernels::test {
namespace {

constexpr float kNever = std::numeric_limits<float>::quiet_NaN();

struct Case {
  std::int64_t rows, inputs, outputs;
};

/// Sizes at, beside and beyond the borders of panels and pieces of k, and random ones.
std::vector<Case> cases() {
  std::vector<Case> list = {{1, 1, 1},    {1, 2, 3},     {3, 1, 17},    {14, 16, 32},    {15, 36, 33},
                            {7, 255, 31}, {29, 256, 64}, {28, 257, 65}, {2, 512, 1},     {5, 513, 34},
                            {9, 514, 96}, {40, 64, 128}, {13, 1030, 7}, {113, 288, 100}, {6, 2049, 16}};
  Random random(11);
  for (int i = 0; i < 20; ++i) {
    list.push_back({1 + random.below(60), 1 + random.below(700), 1 + random.below(150)});
  }
  return list;
}

float nearest_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t low = bits & 0xFFFFU;
  const std::uint32_t high = bits >> 16;
  const bool up = low > 0x8000U || (low == 0x8000U && (high & 1U) != 0);
  return std::bit_cast<float>((high + (up ? 1U : 0U)) << 16);
}

double activated(GemmActivation activation, double v) {
  switch (activation) {
    case GemmActivation::none:
      return v;
    case GemmActivation::relu:
      return std::max(v, 0.0);
    case GemmActivation::gelu:
      return 0.5 * v * std::erfc(-v * std::sqrt(0.5));
    case GemmActivation::silu:
      return v * logistic(v);
  }
  return v;
}

/// A linear layer and rows of inputs.
struct Layer {
  Case size;
  std::vector<float> weights, bias, x;

  Layer(Case s, std::uint64_t seed)
      : size(s),
        weights(random_values<float>(s.outputs * s.inputs, seed)),
        bias(random_values<float>(s.outputs, seed + 1)),
        x(random_values<float>(s.rows * s.inputs, seed + 2)) {}

  PackedLinear packed(Isa isa, Multiply multiply) const {
    return {size.outputs, size.inputs, weights.data(), bias.data(), isa, multiply};
  }

  /// The exact sum, and that of the magnitudes, which bounds its rounding errors.
  struct Sum {
    double value;
    double magnitude;
  };
  Sum sum(std::int64_t i, std::int64_t j, Multiply multiply) const {
    Sum s{static_cast<double>(bias[static_cast<std::size_t>(j)]), 0.0};
    for (std::int64_t k = 0; k < size.inputs; ++k) {
      float a = x[static_cast<std::size_t>(i * size.inputs + k)];
      float b = weights[static_cast<std::size_t>(j * size.inputs + k)];
      if (multiply == Multiply::bf16) {
        a = nearest_bf16(a);
        b = nearest_bf16(b);
      }
      const double product = static_cast<double>(a) * static_cast<double>(b);
      s.value += product;
      s.magnitude += std::abs(product);
    }
    s.magnitude += std::abs(s.value);
    return s;
  }
};

/// Memory for packed rows with NaN everywhere, so that reading what nobody packed shows.
struct PackedMemory {
  AlignedVector<float> floats;
  PackedRows rows;

  PackedMemory(const PackedLinear& layer, std::int64_t count)
      : floats(static_cast<std::size_t>(layer.packed_size(count)), kNever), rows{floats.data(), count} {}
};

constexpr double kSumTolerance = 1e-6;         // of the sum of magnitudes
constexpr double kActivationTolerance = 3e-6;  // of max(1, |x|)
constexpr double kSteepest = 1.13;             // slope of gelu, the steepest activation

template <typename Body>
void for_every_way(const Body& body) {
  for (const Isa isa : supported_isas()) {
    for (const Multiply multiply : {Multiply::full, Multiply::bf16}) {
      SCOPED_TRACE(std::string(name_of(isa)) + (multiply == Multiply::bf16 ? ", bf16" : ""));
      body(isa, multiply);
    }
  }
}

/// Greatest error in units of what is tolerated.
template <typename At, typename Residual>
double worst_error(const Layer& layer, Multiply multiply, GemmActivation activation, const At& at,
                   const Residual& residual) {
  double worst = 0.0;
  for (std::int64_t i = 0; i < layer.size.rows; ++i) {
    for (std::int64_t j = 0; j < layer.size.outputs; ++j) {
      const Layer::Sum sum = layer.sum(i, j, multiply);
      const double expected = activated(activation, sum.value) + residual(i, j);
      double tolerated = kSteepest * kSumTolerance * sum.magnitude + 1e-7 * std::abs(expected);
      if (activation == GemmActivation::gelu || activation == GemmActivation::silu) {
        tolerated += kActivationTolerance * std::max(1.0, std::abs(sum.value));
      }
      const double error = std::abs(static_cast<double>(at(i, j)) - expected) / tolerated;
      worst = std::isnan(error) ? std::numeric_limits<double>::infinity() : std::max(worst, error);
    }
  }
  return worst;
}

TEST(PackedLinear, EqualsAPlainProduct) {
  for (const Case& size : cases()) {
    const Layer layer(size, static_cast<std::uint64_t>(size.inputs));
    SCOPED_TRACE(testing::Message() << size.rows << " x " << size.inputs << " x " << size.outputs);
    for_every_way([&](Isa isa, Multiply multiply) {
      const PackedLinear linear = layer.packed(isa, multiply);
      PackedMemory memory(linear, size.rows);
      linear.pack(layer.x.data(), size.inputs, memory.rows);
      std::vector<float> y(static_cast<std::size_t>(size.rows * size.outputs), kNever);
      linear.multiply(memory.rows, {0, size.outputs}, {.data = y.data(), .stride = size.outputs});
      const auto at = [&](std::int64_t i, std::int64_t j) {
        return y[static_cast<std::size_t>(i * size.outputs + j)];
      };
      EXPECT_LE(worst_error(layer, multiply, GemmActivation::none, at, [](auto, auto) { return 0.0; }), 1.0);
    });
  }
}

TEST(PackedLinear, ActivationsAndResidualOverRangesOfColumns) {
  const Layer layer({23, 77, 150}, 5);
  const std::int64_t outputs = layer.size.outputs;
  const std::int64_t stride = outputs + 5;
  const auto before = random_values<float>(layer.size.rows * stride, 9, -2.0, 2.0);
  for_every_way([&](Isa isa, Multiply multiply) {
    const PackedLinear linear = layer.packed(isa, multiply);
    PackedMemory memory(linear, layer.size.rows);
    linear.pack(layer.x.data(), layer.size.inputs, memory.rows);
    for (const GemmActivation activation :
         {GemmActivation::none, GemmActivation::relu, GemmActivation::gelu, GemmActivation::silu}) {
      SCOPED_TRACE(static_cast<int>(activation));
      // In place: the residual is what stands in the outputs.
      std::vector<float> y = before;
      const LinearOutput output{y.data(), stride, activation, y.data(), stride};
      for (std::int64_t j = 0; j < outputs; j += linear.panel_columns()) {
        linear.multiply(memory.rows, {j, std::min(j + linear.panel_columns(), outputs)}, output);
      }
      const auto residual = [&](std::int64_t i, std::int64_t j) {
        return static_cast<double>(before[static_cast<std::size_t>(i * stride + j)]);
      };
      const auto at = [&](std::int64_t i, std::int64_t j) {
        return y[static_cast<std::size_t>(i * stride + j)];
      };
      EXPECT_LE(worst_error(layer, multiply, activation, at, residual), 1.0);
      for (std::int64_t i = 0; i < layer.size.rows; ++i) {
        for (std::int64_t j = outputs; j < stride; ++j)
          EXPECT_EQ(static_cast<double>(at(i, j)), residual(i, j));
      }
      // One range alone leaves the others' columns as they are.
      std::vector<float> part = before;
      const std::int64_t first = linear.panel_columns();
      linear.multiply(memory.rows, {first, 2 * first}, {part.data(), stride, activation});
      for (std::size_t i = 0; i < part.size(); ++i) {
        const auto column = static_cast<std::int64_t>(i) % stride;
        if (column < first || column >= 2 * first) {
          EXPECT_EQ(part[i], before[i]);
        }
      }
    }
  });
}

TEST(PackedLinear, RowsArePackedPieceByPieceWithZerosBetween) {
  Random random(3);
  for (const Case& size : {Case{5, 36, 20}, {17, 600, 40}, {9, 1030, 33}}) {
    Layer layer(size, 7);
    for_every_way([&](Isa isa, Multiply multiply) {
      const PackedLinear linear = layer.packed(isa, multiply);
      PackedMemory memory(linear, size.rows);
      for (std::int64_t row = 0; row < size.rows;) {
        const std::int64_t count = std::min(size.rows - row, 1 + random.below(4));
        for (std::int64_t k = 0; k < size.inputs;) {
          const std::int64_t k_count = std::min(size.inputs - k, 2 * (1 + random.below(200)));
          float* x = layer.x.data() + row * size.inputs + k;
          if (k + k_count < size.inputs && random.chance(0.3)) {
            for (std::int64_t i = 0; i < count; ++i) std::fill_n(x + i * size.inputs, k_count, 0.0F);
            linear.clear(count, row, k, k_count, memory.rows);
          } else {
            linear.pack(x, size.inputs, count, row, k, k_count, memory.rows);
          }
          k += k_count;
        }
        row += count;
      }
      std::vector<float> y(static_cast<std::size_t>(size.rows * size.outputs));
      linear.multiply(memory.rows, {0, size.outputs}, {.data = y.data(), .stride = size.outputs});
      const auto at = [&](std::int64_t i, std::int64_t j) {
        return y[static_cast<std::size_t>(i * size.outputs + j)];
      };
      EXPECT_LE(worst_error(layer, multiply, GemmActivation::none, at, [](auto, auto) { return 0.0; }), 1.0);
    });
  }
}

/// Sums that single precision holds exactly and bfloat16 does not, half of them ties.
Layer whole_numbers(const Case& size) {
  Layer layer(size, 1);
  const auto round = [](std::vector<float>& values, float scale) {
    for (float& value : values) value = std::round(value * scale);
  };
  round(layer.weights, 3.0F);
  round(layer.bias, 40.0F);
  round(layer.x, 60.0F);
  return layer;
}

TEST(PackedLinear, OutputsBecomePackedRowsOfTheNextLayer) {
  for (const Case& size :
       {Case{1, 1, 1}, {3, 7, 5}, {19, 33, 64}, {30, 40, 257}, {15, 64, 1040}, {8, 20, 77}}) {
    const Layer first = whole_numbers(size);
    const Layer second({size.rows, size.outputs, 37}, 2);
    for_every_way([&](Isa isa, Multiply multiply) {
      const PackedLinear a = first.packed(isa, multiply);
      const PackedLinear b = second.packed(isa, multiply);
      PackedMemory packed(a, size.rows);
      a.pack(first.x.data(), size.inputs, packed.rows);
      for (const GemmActivation activation :
           {GemmActivation::none, GemmActivation::relu, GemmActivation::gelu, GemmActivation::silu}) {
        // The same in two steps, each of which is tested above.
        std::vector<float> hidden(static_cast<std::size_t>(size.rows * size.outputs));
        a.multiply(packed.rows, {0, size.outputs},
                   {.data = hidden.data(), .stride = size.outputs, .activation = activation});
        PackedMemory apart(b, size.rows);
        b.pack(hidden.data(), size.outputs, apart.rows);
        PackedMemory handed(b, size.rows);
        a.multiply(packed.rows, activation, b, handed.rows);
        std::vector<float> expected(static_cast<std::size_t>(size.rows * second.size.outputs));
        std::vector<float> actual(expected.size(), kNever);
        b.multiply(apart.rows, {0, second.size.outputs},
                   {.data = expected.data(), .stride = second.size.outputs});
        b.multiply(handed.rows, {0, second.size.outputs},
                   {.data = actual.data(), .stride = second.size.outputs});
        // What is rounded to bf16 need not be exact before; there a number may fall on the other side of a
        // tie.
        const bool smooth = activation == GemmActivation::gelu || activation == GemmActivation::silu;
        const double tolerance = smooth && multiply == Multiply::bf16 ? 8e-3 : 1e-6;
        expect_close("handed over", actual, widened(expected), tolerance);
      }
    });
  }
}

// Both factors are halfway between two bfloat16, where truncation and rounding away from zero differ from
// ties to even.
TEST(PackedLinear, Bf16RoundsTiesToEven) {
  const float halfway_down = 1.0F + 0x1p-8F;       // between 1 and 1 + 2^-7: even is 1
  const float halfway_up = 1.0F + 3.0F * 0x1p-8F;  // between 1 + 2^-7 and 1 + 2^-6: even is the upper
  const float above = 1.0F + 0x1p-8F + 0x1p-20F;   // nearer to 1 + 2^-7
  for (const Isa isa : supported_isas()) {
    for (const float value : {halfway_down, -halfway_down, halfway_up, -halfway_up, above}) {
      const float one = 1.0F;
      const auto product = [&](const float& x, const float& w) {
        const PackedLinear linear(1, 1, &w, nullptr, isa, Multiply::bf16);
        PackedMemory memory(linear, 1);
        linear.pack(&x, 1, memory.rows);
        float y = 0.0F;
        linear.multiply(memory.rows, {0, 1}, {.data = &y, .stride = 1});
        return y;
      };
      EXPECT_EQ(product(value, one), nearest_bf16(value)) << name_of(isa);
      EXPECT_EQ(product(one, value), nearest_bf16(value)) << name_of(isa);
    }
  }
}

TEST(PackedLinear, NotANumberStaysOne) {
  const float x[2] = {kNever, 1.0F};
  const float w[2] = {1.0F, 1.0F};
  for (const Isa isa : supported_isas()) {
    const PackedLinear linear(1, 2, w, nullptr, isa, Multiply::full);
    PackedMemory memory(linear, 1);
    linear.pack(x, 2, memory.rows);
    for (const GemmActivation activation : {GemmActivation::none, GemmActivation::relu}) {
      float y = 0.0F;
      linear.multiply(memory.rows, {0, 1}, {.data = &y, .stride = 1, .activation = activation});
      EXPECT_TRUE(std::isnan(y)) << name_of(isa) << ", activation " << static_cast<int>(activation);
    }
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::test
