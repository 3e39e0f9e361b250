#include "base/random.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace spatialmamba {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

constexpr int kDraws = 200000;

TEST(Random, FixedVectors) {
  // xoshiro256** from the state {1, 2, 3, 4}: the first outputs follow from its definition by hand.
  Random by_hand(Random::State{1, 2, 3, 4});
  EXPECT_EQ(by_hand.bits(), 11520U);
  EXPECT_EQ(by_hand.bits(), 0U);
  EXPECT_EQ(by_hand.bits(), 1509978240U);
  EXPECT_EQ(by_hand.bits(), 1215971899390074240U);
  // splitmix64 of 0 is published with the generator.
  EXPECT_EQ(Random(0).state()[0], 0xE220A8397B1DCDAFULL);
  EXPECT_EQ(Random(0).state()[1], 0x6E789E6AA1B965F4ULL);
}

TEST(Random, TheStateIsAllThereIs) {
  Random first(7);
  first.normal();
  first.beta(0.8, 0.8);
  Random second(first.state());
  for (int i = 0; i < 100; ++i) EXPECT_EQ(first.normal(), second.normal());
}

TEST(Random, StreamsDiffer) {
  EXPECT_NE(Random(1).bits(), Random(2).bits());
  EXPECT_NE(Random(1, 0).bits(), Random(1, 1).bits());
  EXPECT_NE(Random(1, 0).bits(), Random(1).bits());
  EXPECT_EQ(Random(5, 9).bits(), Random(5, 9).bits());
}

struct Moments {
  double mean = 0.0;
  double variance = 0.0;
};

template <typename Draw>
Moments moments_of(Draw draw) {
  double sum = 0.0;
  double squares = 0.0;
  for (int i = 0; i < kDraws; ++i) {
    const double x = draw();
    sum += x;
    squares += x * x;
  }
  const double mean = sum / kDraws;
  return {mean, squares / kDraws - mean * mean};
}

TEST(Random, MomentsOfTheDistributions) {
  Random random(20240);
  const Moments uniform = moments_of([&] { return random.uniform(2.0, 5.0); });
  EXPECT_NEAR(uniform.mean, 3.5, 0.01);
  EXPECT_NEAR(uniform.variance, 0.75, 0.01);
  const Moments normal = moments_of([&] { return random.normal(); });
  EXPECT_NEAR(normal.mean, 0.0, 0.01);
  EXPECT_NEAR(normal.variance, 1.0, 0.02);
  for (const double shape : {0.4, 1.0, 3.5}) {
    const Moments gamma = moments_of([&] { return random.gamma(shape); });
    EXPECT_NEAR(gamma.mean, shape, 0.03 * shape);
    EXPECT_NEAR(gamma.variance, shape, 0.06 * shape);
  }
  // Beta(a, a) has variance 1 / (4 (2a + 1)).
  const Moments beta = moments_of([&] { return random.beta(0.8, 0.8); });
  EXPECT_NEAR(beta.mean, 0.5, 0.01);
  EXPECT_NEAR(beta.variance, 1.0 / (4.0 * 2.6), 0.002);
}

TEST(Random, BetaOfTinyParametersIsACoin) {
  Random random(4);
  const Moments beta = moments_of([&] { return random.beta(1e-4, 3e-4); });
  EXPECT_NEAR(beta.mean, 0.25, 0.01);
  EXPECT_NEAR(beta.variance, 0.25 * 0.75, 0.01);
}

TEST(Random, UniformStaysBelowOne) {
  Random random(3);
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.uniform();
    ASSERT_GE(x, 0.0);
    ASSERT_LT(x, 1.0);
  }
}

TEST(Random, BelowIsUniform) {
  Random random(11);
  std::vector<int> counts(7, 0);
  for (int i = 0; i < kDraws; ++i) ++counts.at(static_cast<std::size_t>(random.below(7)));
  double chi_square = 0.0;
  for (const int count : counts) chi_square += std::pow(count - kDraws / 7.0, 2) / (kDraws / 7.0);
  EXPECT_LT(chi_square, 22.5);  // 6 degrees of freedom, p = 0.001
  EXPECT_EQ(random.below(1), 0);
}

TEST(Random, ShuffleReachesEveryOrderEqually) {
  Random random(5);
  std::vector<int> counts(6, 0);
  for (int i = 0; i < 60000; ++i) {
    std::vector<int> order{0, 1, 2};
    random.shuffle(std::span(order));
    ++counts.at(static_cast<std::size_t>(order[0] * 2 + (order[1] > order[2] ? 1 : 0)));
  }
  for (const int count : counts) EXPECT_NEAR(count, 10000, 450);

  std::vector<int> many(1000);
  std::iota(many.begin(), many.end(), 0);
  const std::vector<int> sorted = many;
  random.shuffle(std::span(many));
  EXPECT_NE(many, sorted);
  std::sort(many.begin(), many.end());
  EXPECT_THAT(many, ElementsAreArray(sorted));
  std::vector<int> one{4};
  random.shuffle(std::span(one));
  EXPECT_THAT(one, ElementsAre(4));
}

TEST(Random, ChanceKeepsItsPromises) {
  Random random(9);
  int hits = 0;
  for (int i = 0; i < kDraws; ++i) hits += random.chance(0.25) ? 1 : 0;
  EXPECT_NEAR(hits, kDraws / 4, 1000);
  EXPECT_FALSE(random.chance(0.0));
  EXPECT_TRUE(random.chance(1.0));
}

}  // namespace
}  // namespace spatialmamba
