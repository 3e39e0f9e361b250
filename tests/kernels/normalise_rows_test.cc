#include "kernels/normalise_rows.h"

#include "kernel_test.h"
#include "kernels/packed_linear.h"

namespace spatialmamba::kernels::test {
namespace {

constexpr float kEpsilon = 1e-5F;

struct Case {
  std::int64_t count, channels, stride;
};
const Case kCases[] = {{1, 1, 1},   {3, 2, 5},     {7, 15, 15},   {4, 16, 16},    {5, 17, 20},
                       {2, 96, 96}, {9, 129, 130}, {1, 768, 768}, {3, 1027, 1031}};

/// Means that grow beside the deviations: what a variance of squares would lose.
std::vector<float> rows_of(const Case& size) {
  auto x = random_values<float>(size.count * size.stride, 1);
  for (std::int64_t i = 0; i < std::ssize(x); ++i) {
    x[static_cast<std::size_t>(i)] += static_cast<float>(i / size.stride);
  }
  return x;
}

std::vector<double> reference(const Case& size, const std::vector<float>& x) {
  std::vector<double> y;
  for (std::int64_t i = 0; i < size.count; ++i) {
    const float* row = x.data() + i * size.stride;
    const auto n = static_cast<double>(size.channels);
    double mean = 0.0;
    for (std::int64_t c = 0; c < size.channels; ++c) mean += static_cast<double>(row[c]) / n;
    double variance = 0.0;
    for (std::int64_t c = 0; c < size.channels; ++c) {
      variance += (static_cast<double>(row[c]) - mean) * (static_cast<double>(row[c]) - mean) / n;
    }
    for (std::int64_t c = 0; c < size.channels; ++c) {
      y.push_back((static_cast<double>(row[c]) - mean) / std::sqrt(variance + static_cast<double>(kEpsilon)));
    }
  }
  return y;
}

TEST(NormaliseRows, PlainAndGated) {
  for (const Case& size : kCases) {
    SCOPED_TRACE(testing::Message() << size.count << " x " << size.channels);
    const std::vector<float> x = rows_of(size);
    const auto gamma = random_values<float>(size.channels, 2);
    const auto beta = random_values<float>(size.channels, 3);
    const std::int64_t gate_stride = size.channels + 3;
    const auto gate = random_values<float>(size.count * gate_stride, 4);
    const std::vector<double> expected = reference(size, x);
    std::vector<double> gated = expected;
    for (std::size_t i = 0; i < gated.size(); ++i) {
      const auto channels = static_cast<std::size_t>(size.channels);
      const std::size_t c = i % channels;
      gated[i] = (gated[i] * static_cast<double>(gamma[c]) + static_cast<double>(beta[c])) *
                 static_cast<double>(gate[i / channels * static_cast<std::size_t>(gate_stride) + c]);
    }
    // The subtraction of the means cancels some digits.
    const double tolerance = kTolerance<float> * (1.0 + static_cast<double>(size.count));
    for (const Isa isa : supported_isas()) {
      SCOPED_TRACE(name_of(isa));
      std::vector<float> y(expected.size());
      const RowDestination dense = RowDestination::dense(y.data(), size.channels);
      normalise_rows(size.count, size.channels, {x.data(), size.stride}, kEpsilon, dense, isa);
      expect_close("plain", y, expected, tolerance);
      normalise_gated_rows(size.count, size.channels, {x.data(), size.stride}, gamma.data(), beta.data(),
                           {gate.data(), gate_stride}, kEpsilon, dense, isa);
      expect_close("gated", y, gated, tolerance);
    }
  }
}

TEST(NormaliseRows, PackedOnesAreThoseThatALayerWouldPack) {
  for (const Case& size : kCases) {
    const std::vector<float> x = rows_of(size);
    const std::int64_t outputs = 5;
    const auto weights = random_values<float>(outputs * size.channels, 5);
    for (const Isa isa : supported_isas()) {
      for (const Multiply multiply : {Multiply::full, Multiply::bf16}) {
        SCOPED_TRACE(testing::Message() << size.count << " x " << size.channels << ", " << name_of(isa));
        const PackedLinear layer(outputs, size.channels, weights.data(), nullptr, isa, multiply);
        const auto products = [&](const auto& pack) {
          // What a layer reads beside the rows must not matter.
          AlignedVector<float> memory(static_cast<std::size_t>(layer.packed_size(size.count)), NAN);
          const PackedRows packed{memory.data(), size.count};
          pack(packed);
          std::vector<float> y(static_cast<std::size_t>(size.count * outputs));
          layer.multiply(packed, {0, outputs}, {.data = y.data(), .stride = outputs});
          return y;
        };
        std::vector<float> dense(static_cast<std::size_t>(size.count * size.channels));
        normalise_rows(size.count, size.channels, {x.data(), size.stride}, kEpsilon,
                       RowDestination::dense(dense.data(), size.channels), isa);
        const auto packed_later =
            products([&](PackedRows packed) { layer.pack(dense.data(), size.channels, packed); });
        const auto packed_at_once = products([&](PackedRows packed) {
          normalise_rows(size.count, size.channels, {x.data(), size.stride}, kEpsilon,
                         layer.destination(packed), isa);
        });
        EXPECT_EQ(packed_at_once, packed_later);
      }
    }
  }
}

TEST(NormaliseRows, ConstantRowsBecomeZero) {
  const std::vector<float> x(3 * 21, 0.25F);
  for (const Isa isa : supported_isas()) {
    std::vector<float> y(x.size(), 1.0F);
    normalise_rows(3, 21, {x.data(), 21}, kEpsilon, RowDestination::dense(y.data(), 21), isa);
    EXPECT_EQ(y, std::vector<float>(x.size(), 0.0F)) << name_of(isa);
  }
}

TEST(NormaliseRows, SumsGrowByEveryRow) {
  for (const Case& size : kCases) {
    const auto x = random_values<float>(size.count * size.stride, 5);
    const auto before = random_values<float>(size.channels, 6);
    std::vector<double> expected = widened(before);
    for (std::int64_t i = 0; i < size.count * size.channels; ++i) {
      const std::int64_t c = i % size.channels;
      expected[static_cast<std::size_t>(c)] +=
          static_cast<double>(x[static_cast<std::size_t>(i / size.channels * size.stride + c)]);
    }
    for (const Isa isa : supported_isas()) {
      std::vector<float> sums = before;
      add_rows(size.count, size.channels, {x.data(), size.stride}, sums.data(), isa);
      expect_close("sums", sums, expected);
    }
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::test
