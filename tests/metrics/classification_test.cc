#include "metrics/classification.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/random.h"
#include "spatialmamba/error.h"

namespace spatialmamba::metrics {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Few distinct values, so that ties are frequent.
std::vector<float> random_scores(Random& random, std::int64_t classes) {
  std::vector<float> scores(static_cast<std::size_t>(classes));
  for (float& score : scores) score = static_cast<float>(random.below(6)) - 3.0F;
  return scores;
}

// A stable sort of all indices: what top_k and rank_of must agree with.
std::vector<std::int64_t> sorted_classes(const std::vector<float>& scores) {
  std::vector<std::int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater{},
                           [&](std::int64_t i) { return scores[static_cast<std::size_t>(i)]; });
  return order;
}

TEST(TopK, EqualsAStableSort) {
  Random random(1);
  for (int trial = 0; trial < 500; ++trial) {
    const std::vector<float> scores = random_scores(random, 1 + random.below(20));
    const std::vector<std::int64_t> order = sorted_classes(scores);
    const std::int64_t k = random.below(25);
    const auto expected_size = std::min<std::size_t>(static_cast<std::size_t>(k), scores.size());
    const std::vector<std::int64_t> best = top_k(scores, k);
    ASSERT_EQ(best.size(), expected_size);
    EXPECT_TRUE(std::equal(best.begin(), best.end(), order.begin()));
    for (std::size_t place = 0; place < order.size(); ++place) {
      EXPECT_EQ(rank_of(scores, order[place]), static_cast<std::int64_t>(place));
    }
  }
}

TEST(TopK, TiesGoToTheLowerIndex) {
  EXPECT_EQ(top_k(std::vector<float>{1, 2, 2, 1}, 3), (std::vector<std::int64_t>{1, 2, 0}));
}

TEST(TopK, RefusesNanAndLabelsThatAreNoClass) {
  const std::vector<float> broken = {0.0F, kNan, 1.0F};
  EXPECT_THROW(top_k(broken, 1), Error);
  EXPECT_THROW(rank_of(broken, 0), Error);
  EXPECT_THROW(softmax(broken), Error);
  const std::vector<float> fine = {0.0F, 1.0F};
  EXPECT_THROW(rank_of(fine, 2), Error);
  EXPECT_THROW(rank_of(fine, -1), Error);
}

TEST(RequireFinite, NamesTheClass) {
  require_finite(std::vector<float>{1, 2});
  try {
    require_finite(std::vector<float>{1, -kInfinity});
    FAIL() << "an infinite score passed";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("class 1"), std::string::npos);
  }
}

TEST(Softmax, SumsToOneKeepsOrderAndIgnoresAShift) {
  Random random(2);
  for (int trial = 0; trial < 100; ++trial) {
    std::vector<float> scores(7);
    for (float& score : scores) score = static_cast<float>(random.uniform(-50, 50));
    const std::vector<double> shares = softmax(scores);
    EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1.0, 1e-12);
    double sum = 0.0;
    for (const float score : scores) sum += std::exp(static_cast<double>(score));
    for (std::size_t i = 0; i < scores.size(); ++i) {
      EXPECT_NEAR(shares[i], std::exp(static_cast<double>(scores[i])) / sum, 1e-12);
    }
  }
  const std::vector<double> far = softmax(std::vector<float>{1e30F, 1e30F, -1e30F});
  EXPECT_EQ(far, (std::vector<double>{0.5, 0.5, 0.0}));
  EXPECT_EQ(softmax(std::vector<float>{kInfinity, 3.0F}), (std::vector<double>{1.0, 0.0}));
}

TEST(CrossEntropy, IsTheLogarithmOfTheShareAndStaysFinite) {
  const std::vector<float> scores = {0.5F, -2.0F, 3.25F};
  for (std::int64_t label = 0; label < 3; ++label) {
    EXPECT_NEAR(cross_entropy(scores, label), -std::log(softmax(scores)[static_cast<std::size_t>(label)]),
                1e-12);
  }
  EXPECT_DOUBLE_EQ(cross_entropy(std::vector<float>{2000.0F, 0.0F}, 1), 2000.0);
  EXPECT_THROW(cross_entropy(std::vector<float>{kNan, 0.0F}, 1), Error);
  EXPECT_THROW(cross_entropy(scores, 3), Error);
}

TEST(Meter, AgreesWithBruteForce) {
  constexpr std::int64_t kClasses = 9;
  Random random(3);
  ClassificationMeter meter(kClasses);
  std::vector<std::vector<std::int64_t>> counts(kClasses, std::vector<std::int64_t>(kClasses));
  std::int64_t first = 0;
  std::int64_t among_five = 0;
  constexpr int kSamples = 400;
  for (int sample = 0; sample < kSamples; ++sample) {
    const std::vector<float> scores = random_scores(random, kClasses);
    const std::int64_t label = random.below(kClasses - 1);  // the last class has no samples
    meter.add(scores, label);
    const std::vector<std::int64_t> order = sorted_classes(scores);
    const auto place = std::ranges::find(order, label) - order.begin();
    first += place < 1 ? 1 : 0;
    among_five += place < 5 ? 1 : 0;
    ++counts[static_cast<std::size_t>(label)][static_cast<std::size_t>(order.front())];
  }
  EXPECT_EQ(meter.samples(), kSamples);
  EXPECT_DOUBLE_EQ(meter.top1(), static_cast<double>(first) / kSamples);
  EXPECT_DOUBLE_EQ(meter.top5(), static_cast<double>(among_five) / kSamples);
  EXPECT_DOUBLE_EQ(*meter.confusion().accuracy(), meter.top1());
  const auto shares = meter.confusion().per_class_accuracy();
  EXPECT_FALSE(shares.back().has_value());
  double weighted = 0.0;
  for (std::int64_t i = 0; i < kClasses; ++i) {
    const auto& row = counts[static_cast<std::size_t>(i)];
    EXPECT_EQ(meter.confusion().samples(i), std::accumulate(row.begin(), row.end(), std::int64_t{0}));
    for (std::int64_t j = 0; j < kClasses; ++j) {
      EXPECT_EQ(meter.confusion().count(i, j), row[static_cast<std::size_t>(j)]);
    }
    weighted +=
        shares[static_cast<std::size_t>(i)].value_or(0.0) * static_cast<double>(meter.confusion().samples(i));
  }
  EXPECT_NEAR(weighted / kSamples, meter.top1(), 1e-12);
}

TEST(Meter, IsEmptyAtFirstAndChecksItsInput) {
  ClassificationMeter meter(3);
  EXPECT_EQ(meter.top1(), 0.0);
  EXPECT_FALSE(meter.confusion().accuracy().has_value());
  EXPECT_THROW(meter.add(std::vector<float>{1, 2}, 0), Error);
  EXPECT_THROW(meter.add(std::vector<float>{1, kNan, 2}, 0), Error);
  EXPECT_THROW(meter.add(std::vector<float>{1, 2, 3}, 3), Error);
  EXPECT_EQ(meter.samples(), 0) << "a refused sample must not count";
  EXPECT_THROW(ConfusionMatrix(0), Error);
}

TEST(ConfusionMatrix, WritesCsvWithQuotedNames) {
  ConfusionMatrix matrix(2);
  matrix.add(0, 1);
  matrix.add(1, 1);
  EXPECT_EQ(matrix.to_csv({"cat, tame", "the \"dog\""}),
            "true\\predicted,\"cat, tame\",\"the \"\"dog\"\"\"\n"
            "\"cat, tame\",0,1\n"
            "\"the \"\"dog\"\"\",0,1\n");
  EXPECT_THROW(matrix.to_csv({"one"}), Error);
}

}  // namespace
}  // namespace spatialmamba::metrics
