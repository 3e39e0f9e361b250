#include "data/sampling.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "data/loader.h"

namespace spatialmamba::data {
namespace {

using testing::Each;
using testing::ElementsAre;

/// Class 0 has 40 samples, class 1 has 9, class 2 one, class 3 none.
Dataset uneven() {
  Dataset dataset;
  dataset.classes = {"many", "some", "one", "none"};
  dataset.labels.assign(40, 0);
  dataset.labels.insert(dataset.labels.end(), 9, 1);
  dataset.labels.push_back(2);
  dataset.load = [](std::int64_t i) { return image::Image(static_cast<int>(i) + 1, 1, 1); };
  dataset.name = [](std::int64_t i) { return std::to_string(i); };
  return dataset;
}

TEST(Sampling, CountsClasses) {
  EXPECT_THAT(class_counts(uneven()), ElementsAre(40, 9, 1, 0));
}

TEST(Sampling, BalancedOrderShowsClassesEquallyOften) {
  const Dataset dataset = balanced(uneven());
  const auto order = dataset.order(3, 0);
  ASSERT_EQ(std::ssize(order), dataset.size());
  std::vector<int> shown(4, 0);
  for (const std::int64_t i : order)
    ++shown[static_cast<std::size_t>(dataset.labels[static_cast<std::size_t>(i)])];
  EXPECT_THAT(shown, ElementsAre(testing::AnyOf(16, 17), testing::AnyOf(16, 17), testing::AnyOf(16, 17), 0));
  std::vector<int> times(50, 0);
  for (const std::int64_t i : order) ++times[static_cast<std::size_t>(i)];
  EXPECT_LE(*std::max_element(times.begin(), times.begin() + 40), 1);  // none of the many comes twice
  EXPECT_THAT(std::vector<int>(times.begin() + 40, times.begin() + 49), Each(testing::AnyOf(1, 2)));
  EXPECT_EQ(order, dataset.order(3, 0));
  EXPECT_NE(order, dataset.order(3, 1));
  EXPECT_NE(order, dataset.order(4, 0));
}

TEST(Sampling, HoldsOutAShareOfEveryClass) {
  const Dataset whole = uneven();
  const Parts parts = hold_out(whole, 0.2, 1);
  EXPECT_THAT(class_counts(parts.validation), ElementsAre(8, 2, 0, 0));
  EXPECT_THAT(class_counts(parts.training), ElementsAre(32, 7, 1, 0));
  EXPECT_EQ(parts.training.classes, whole.classes);
  std::set<std::string> names;
  for (const Dataset* part : {&parts.training, &parts.validation}) {
    for (std::int64_t i = 0; i < part->size(); ++i) {
      names.insert(part->name(i));
      EXPECT_EQ(std::to_string(part->load(i).width - 1), part->name(i));
    }
  }
  EXPECT_EQ(names.size(), 50U);
  EXPECT_EQ(hold_out(whole, 0.2, 1).validation.name(0), parts.validation.name(0));
}

}  // namespace
}  // namespace spatialmamba::data
