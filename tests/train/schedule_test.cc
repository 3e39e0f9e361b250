#include "train/schedule.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "spatialmamba/error.h"
#include "support/golden.h"
#include "train/csv_table.h"
#include "train/plan.h"

namespace spatialmamba::train {
namespace {

using test::CsvTable;
using test::golden;

/// Updates per epoch of the recipe that the golden schedule was made with.
constexpr std::int64_t kImages = 1281167;

TEST(Schedule, MatchesTheReferenceOverTheWholeImagenetRecipe) {
  const Recipe recipe = read_recipe(test::project_folder() / "configs/imagenet_tiny.yaml");
  const std::vector<std::string> classes(1000, "class");
  const CosineSchedule schedule = make_plan(recipe, classes, kImages).learner.schedule;
  const CsvTable table = CsvTable::read(golden("classification/train/lr_schedule_imagenet.csv"));
  ASSERT_GT(table.rows(), 0U);
  for (std::size_t row = 0; row < table.rows(); ++row) {
    const double expected = table.number(row, "lr");
    EXPECT_NEAR(schedule.at(table.integer(row, "t")), expected, 1e-15 * expected) << "row " << row;
  }
}

TEST(Schedule, FirstTwoUpdatesUseTheFirstRate) {
  const CosineSchedule schedule{
      .base_rate = 1.0, .warmup_rate = 0.1, .minimum_rate = 0.01, .total_updates = 20, .warmup_updates = 9};
  EXPECT_EQ(schedule.for_update(0), schedule.at(0));
  EXPECT_EQ(schedule.for_update(1), schedule.at(0));
  EXPECT_EQ(schedule.for_update(2), schedule.at(1));
}

TEST(Schedule, RejectsAWarmUpAsLongAsTheRun) {
  EXPECT_THROW(validate(CosineSchedule{.total_updates = 5, .warmup_updates = 5}), UsageError);
  EXPECT_THROW(validate(CosineSchedule{.total_updates = 0}), UsageError);
}

}  // namespace
}  // namespace spatialmamba::train
