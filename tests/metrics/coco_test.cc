#include "metrics/coco.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/random.h"
#include "data/coco.h"
#include "support/golden.h"

namespace spatialmamba::metrics {
namespace {

constexpr double kTolerance = 1e-9;

struct Problem {
  std::vector<CocoTruth> truths;
  std::vector<CocoDetection> detections;
  std::vector<std::int64_t> images;
  std::vector<std::int64_t> categories;
};

Problem load(Overlap overlap, bool keep_box_area) {
  const data::CocoFile truth = data::read_coco(test::golden("detection/cocoeval/gt.json"));
  const data::CocoFile results =
      data::read_coco_results(test::golden("detection/cocoeval/results.json"), truth);
  EXPECT_TRUE(truth.problems.empty());
  Problem problem;
  std::map<std::int64_t, const data::CocoImage*> images;
  for (const data::CocoImage& image : truth.images) {
    images[image.id] = &image;
    problem.images.push_back(image.id);
  }
  for (const data::CocoCategory& category : truth.categories) problem.categories.push_back(category.id);
  const auto mask = [&](const data::CocoFile& file, const data::CocoObject& object) {
    const data::CocoImage& image = *images.at(object.image);
    return overlap == Overlap::mask ? data::mask_of(file, object, image.height, image.width) : image::Rle{};
  };
  for (const data::CocoObject& object : truth.objects) {
    problem.truths.push_back({object.id, object.image, object.category, object.box, object.area, object.crowd,
                              mask(truth, object)});
  }
  for (const data::CocoObject& object : results.objects) {
    CocoDetection& detection = problem.detections.emplace_back();
    detection = {object.image, object.category, object.box, object.area, object.score, mask(results, object)};
    if (overlap == Overlap::mask && !keep_box_area)
      detection.area = static_cast<double>(image::area(detection.mask));
  }
  return problem;
}

CocoResult run(const Problem& problem, const CocoSettings& settings, int threads = 1) {
  ThreadPool pool(threads);
  return evaluate_coco(problem.truths, problem.detections, problem.images, problem.categories, settings,
                       pool.parallel_for());
}

void expect_equal(const std::vector<double>& actual, const std::vector<double>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], kTolerance) << i;
}

// Settings are named by the golden file: what overlaps, and the limits.
CocoSettings settings_of(const std::string& name) {
  CocoSettings settings{.overlap = name.starts_with("segm") ? Overlap::mask : Overlap::box};
  if (name.find("default") == std::string::npos) settings.max_detections = {100, 300, 1000};
  return settings;
}

TEST(Coco, StatisticsEqualThePeers) {
  const auto golden = nlohmann::json::parse(read_text(test::golden("detection/cocoeval/summary.json")));
  int compared = 0;
  for (const auto& [name, expected] : golden.items()) {
    if (!expected.is_object() || !expected.contains("stats")) continue;
    SCOPED_TRACE(name);
    const CocoSettings settings = settings_of(name);
    const CocoResult result =
        run(load(settings.overlap, name.find("with_bbox") != std::string::npos), settings);
    expect_equal({result.stats.begin(), result.stats.end()}, expected.at("stats").get<std::vector<double>>());
    ASSERT_EQ(result.categories.size(), expected.at("per_class").size());
    for (std::size_t k = 0; k < result.categories.size(); ++k) {
      const auto& category = expected.at("per_class").at(std::to_string(result.categories[k]));
      EXPECT_NEAR(result.category_ap[k], category.at("AP").get<double>(), kTolerance);
      EXPECT_NEAR(result.category_ap50[k], category.at("AP50").get<double>(), kTolerance);
    }
    ++compared;
  }
  EXPECT_GE(compared, 2);
}

// The golden table of precisions holds the first of the limits only.
TEST(Coco, TablesEqualThePeers) {
  const TensorMap golden =
      read_safetensors(test::golden("detection/cocoeval/precision_recall.safetensors")).tensors;
  for (const Overlap overlap : {Overlap::box, Overlap::mask}) {
    const std::string prefix = overlap == Overlap::mask ? "segm." : "bbox.";
    SCOPED_TRACE(prefix);
    const Problem problem = load(overlap, false);
    const CocoResult result = run(problem, {.overlap = overlap, .max_detections = {100, 300, 1000}});
    expect_equal(result.recall, test::as_double(golden.at(prefix + "recall")));
    const Tensor& precision = golden.at(prefix + "precision");
    const auto kept = static_cast<std::size_t>(precision.shape().back());
    std::vector<double> first;
    for (std::size_t i = 0; i < result.precision.size(); i += kCocoLimits) {
      for (std::size_t m = 0; m < kept; ++m) first.push_back(result.precision[i + m]);
    }
    expect_equal(first, test::as_double(precision));
  }
}

TEST(Coco, DoesNotDependOnThreads) {
  const Problem problem = load(Overlap::box, false);
  EXPECT_EQ(run(problem, {}, 1).precision, run(problem, {}, 3).precision);
}

TEST(Coco, NothingToFindIsMinusOne) {
  const CocoResult result = evaluate_coco({}, {}, {1}, {1, 2}, {});
  for (const double stat : result.stats) EXPECT_EQ(stat, -1.0);
  EXPECT_EQ(result.category_ap, (std::vector<double>{-1.0, -1.0}));
}

TEST(Coco, PerfectAndMissed) {
  const std::vector<CocoTruth> truths = {
      {.id = 1, .image = 1, .category = 1, .box = {0, 0, 10, 10}, .area = 100},
      {.id = 2, .image = 1, .category = 2, .box = {0, 0, 10, 10}, .area = 100}};
  const std::vector<CocoDetection> detections = {
      {.image = 1, .category = 1, .box = {0, 0, 10, 10}, .area = 100, .score = 0.5},
      {.image = 9, .category = 1, .box = {0, 0, 10, 10}, .area = 100, .score = 0.9},
      {.image = 1, .category = 7, .box = {0, 0, 10, 10}, .area = 100, .score = 0.9}};
  const CocoResult result = evaluate_coco(truths, detections, {1}, {1, 2}, {});
  EXPECT_NEAR(result.category_ap[0], 1.0, kTolerance);
  EXPECT_EQ(result.category_ap[1], 0.0);
}

TEST(Coco, RefusesScoresThatAreNotNumbers) {
  const std::vector<CocoDetection> detections = {{.image = 1, .category = 1, .score = std::nan("")}};
  EXPECT_THROW(evaluate_coco({}, detections, {1}, {1}, {}), Error);
}

}  // namespace
}  // namespace spatialmamba::metrics
