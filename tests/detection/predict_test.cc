#include "detection/predict.h"

#include <gtest/gtest.h>

#include <cmath>

#include "spatialmamba/error.h"

namespace spatialmamba::detection::test {
namespace {

constexpr std::int64_t kMask = 28;

/// Finds the bright rectangle of a picture, if it sees any of it.
NetworkAnswer find_bright(const NetworkInput& input, const ProposalSettings&, const DetectionSettings&) {
  Box box{1e9F, 1e9F, -1, -1};
  for (std::int64_t y = 0; y < input.image.height; ++y) {
    for (std::int64_t x = 0; x < input.image.width; ++x) {
      if (input.values[static_cast<std::size_t>((y * input.width + x) * 3)] < 1.0F) continue;
      box = {std::min(box.x1, static_cast<float>(x)), std::min(box.y1, static_cast<float>(y)),
             std::max(box.x2, static_cast<float>(x + 1)), std::max(box.y2, static_cast<float>(y + 1))};
    }
  }
  NetworkAnswer answer;
  if (box.x2 < 0) return answer;
  const float share = (box.x2 - box.x1) * (box.y2 - box.y1) / 1e6F;
  answer.found = {{box}, {0.5F + share}, {0}, 1};
  answer.masks.assign(kMask * kMask, 10.0F);
  return answer;
}

image::Image with_rectangle(int width, int height, const image::Rect& bright) {
  image::Image picture(width, height, 3);
  for (int y = bright.top; y < bright.top + bright.height; ++y) {
    for (int x = 3 * bright.left; x < 3 * (bright.left + bright.width); ++x) picture.row(y)[x] = 255;
  }
  return picture;
}

TEST(Predict, BoxesAndMasksAreInPixelsOfThePicture) {
  const image::Image picture = with_rectangle(200, 100, {40, 20, 60, 40});
  const Prediction prediction = predict(picture, {.long_side = 400, .short_side = 200}, find_bright);
  ASSERT_EQ(prediction.instances.size(), 1U);
  const Instance& found = prediction.instances[0];
  EXPECT_NEAR(found.box.x1, 40, 1);
  EXPECT_NEAR(found.box.y2, 60, 1);
  EXPECT_EQ(found.mask.width, 200U);
  EXPECT_NEAR(static_cast<double>(image::area(found.mask)), 60.0 * 40.0, 200.0);
}

TEST(Predict, TilesReportAnObjectOnce) {
  // Two tiles see all of it, others a piece.
  const image::Image picture = with_rectangle(300, 300, {120, 120, 60, 50});
  PredictOptions options{.long_side = 160, .short_side = 160};
  options.tiles = Tiles{160, 80};
  const Prediction prediction = predict(picture, options, find_bright);
  ASSERT_EQ(prediction.instances.size(), 1U);
  EXPECT_NEAR(prediction.instances[0].box.x2 - prediction.instances[0].box.x1, 60, 2);
  EXPECT_NEAR(prediction.instances[0].box.y2 - prediction.instances[0].box.y1, 50, 2);
}

TEST(Predict, TheLimitIsReported) {
  const Network many = [](const NetworkInput&, const ProposalSettings&, const DetectionSettings& settings) {
    NetworkAnswer answer;
    for (std::int64_t i = 0; i < settings.per_image; ++i) {
      answer.found.boxes.push_back({static_cast<float>(10 * i), 0, static_cast<float>(10 * i + 5), 5});
      answer.found.scores.push_back(0.9F);
      answer.found.labels.push_back(0);
    }
    answer.found.candidates = 9;
    answer.masks.assign(static_cast<std::size_t>(settings.per_image * kMask * kMask), 1.0F);
    return answer;
  };
  PredictOptions options;
  options.detections.per_image = 4;
  const Prediction prediction = predict(image::Image(100, 60, 3), options, many);
  EXPECT_EQ(prediction.instances.size(), 4U);
  EXPECT_EQ(prediction.left_out, 5);
}

TEST(Predict, RefusesOptionsThatMeanNothing) {
  EXPECT_THROW(validate(PredictOptions{.long_side = 0}), UsageError);
  PredictOptions options;
  options.tiles = Tiles{100, 100};
  EXPECT_THROW(validate(options), UsageError);
  options.tiles.reset();
  options.detections.score = 1.5F;
  EXPECT_THROW(validate(options), UsageError);
}

TEST(Detect, KeepsWhatIsSureEnoughAndDistinct) {
  const std::vector<Box> proposals = {{0, 0, 20, 20}, {1, 0, 20, 20}, {40, 40, 60, 60}, {0, 40, 9, 49}};
  // Two classes and background.
  const std::vector<float> logits = {4, 0, 0, 3, 0, 0, 0, 5, 0, -9, -9, 9};
  const std::vector<float> deltas(4 * 2 * 4, 0.0F);
  const Detections found = detect(proposals, logits, deltas, 2, {60, 60}, {}, kernels::default_isa());
  ASSERT_EQ(found.boxes.size(), 2U);
  EXPECT_EQ(found.labels, (std::vector<std::int64_t>{1, 0}));
  EXPECT_EQ(found.boxes[0], (Box{40, 40, 60, 60}));
  const std::vector<float> broken = {std::nanf(""), 0, 0};
  EXPECT_THROW(detect(std::span(proposals).first(1), broken, std::span(deltas).first(8), 2, {60, 60}, {},
                      kernels::default_isa()),
               Error);
}

}  // namespace
}  // namespace spatialmamba::detection::test
