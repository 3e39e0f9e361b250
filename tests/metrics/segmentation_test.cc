// mIoU, mAcc and aAcc against mmsegmentation's metric, to the last printed digit.
#include "metrics/segmentation.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::metrics {
namespace {

using nlohmann::json;

/// All images of one case of the golden file, in their order.
SegmentationMeter meter_of(const TensorMap& tensors, const std::string& name, std::int64_t classes) {
  SegmentationMeter meter(classes);
  for (int image = 0;; ++image) {
    const std::string prefix = name + "." + std::to_string(image) + ".";
    const Tensor* labels = tensors.find(prefix + "label");
    if (labels == nullptr) break;
    meter.add(tensors.at(prefix + "pred").values<std::uint8_t>(), labels->values<std::uint8_t>());
  }
  EXPECT_GT(meter.images(), 0) << name;
  return meter;
}

void expect_per_class(const std::vector<std::optional<double>>& actual, const json& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_EQ(actual[i].has_value(), expected[i].is_number()) << i;
    if (!actual[i]) continue;
    EXPECT_NEAR(*actual[i], expected[i].get<double>(), 1e-7) << i;
  }
}

TEST(SegmentationMeter, PrintsTheReferencesDigits) {
  const Weights labels = read_safetensors(test::golden("segmentation/metric/labels.safetensors"));
  const json metrics = json::parse(read_text(test::golden("segmentation/metric/metrics.json")));
  ASSERT_FALSE(metrics.empty());
  for (const auto& [key, expected] : metrics.items()) {
    if (!expected.contains("totals")) continue;
    SCOPED_TRACE(key);
    const json& totals = expected.at("totals");
    const auto classes = static_cast<std::int64_t>(totals.at("label").size());
    const SegmentationMeter meter = meter_of(labels.tensors, key.substr(0, key.find('.')), classes);
    EXPECT_EQ(meter.intersection(), totals.at("intersect").get<std::vector<float>>());
    EXPECT_EQ(meter.union_of(), totals.at("union").get<std::vector<float>>());
    EXPECT_EQ(meter.predicted(), totals.at("pred").get<std::vector<float>>());
    EXPECT_EQ(meter.labelled(), totals.at("label").get<std::vector<float>>());
    const SegmentationScores scores = meter.scores();
    EXPECT_EQ(percent_of(scores.pixel_accuracy), expected.at("summary").at("aAcc").get<double>());
    EXPECT_EQ(percent_of(scores.mean_iou), expected.at("summary").at("mIoU").get<double>());
    EXPECT_EQ(percent_of(scores.mean_accuracy), expected.at("summary").at("mAcc").get<double>());
    expect_per_class(scores.iou, expected.at("per_class").at("IoU"));
    expect_per_class(scores.accuracy, expected.at("per_class").at("Acc"));
  }
}

TEST(SegmentationMeter, LeavesOutWhatIsNotDefined) {
  SegmentationMeter meter(3);
  const std::vector<std::uint8_t> labels = {0, 0, 0, kIgnoredLabel};
  const std::vector<std::uint8_t> predicted = {0, 0, 1, 2};
  meter.add(predicted, labels);
  const SegmentationScores scores = meter.scores();
  EXPECT_NEAR(*scores.iou[0], 2.0 / 3.0, 1e-7);
  EXPECT_EQ(scores.iou[1], 0.0);  // predicted, never labelled
  EXPECT_EQ(scores.accuracy[1], std::nullopt);
  EXPECT_EQ(scores.iou[2], std::nullopt);  // only where nothing counts
  EXPECT_NEAR(scores.mean_iou, 1.0 / 3.0, 1e-7);
  EXPECT_NEAR(scores.pixel_accuracy, 2.0 / 3.0, 1e-7);
}

TEST(SegmentationMeter, RefusesWhatIsNoClass) {
  SegmentationMeter meter(3);
  const std::vector<std::uint8_t> good = {0, 1};
  const std::vector<std::uint8_t> bad = {0, 3};
  const std::vector<std::uint8_t> shorter = {0};
  EXPECT_THROW(meter.add(bad, good), Error);
  EXPECT_THROW(meter.add(good, bad), Error);
  EXPECT_THROW(meter.add(shorter, good), Error);
  EXPECT_THROW(SegmentationMeter(0), Error);
  EXPECT_THROW(SegmentationMeter(256), Error);
}

}  // namespace
}  // namespace spatialmamba::metrics
