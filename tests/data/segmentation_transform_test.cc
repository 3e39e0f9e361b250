// The training transforms against mmsegmentation's, with its own random draws replayed.
#include "data/segmentation_transform.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "data/photometric.h"
#include "image/codec.h"
#include "image/opencv_resize.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::data {
namespace {

using nlohmann::json;

/// (H, W, 3), blue first -> a picture.
image::Image picture_of(const Tensor& tensor) {
  const auto values = tensor.values<std::uint8_t>();
  image::Image picture(static_cast<int>(tensor.shape()[1]), static_cast<int>(tensor.shape()[0]), 3);
  for (std::size_t i = 0; i < values.size(); i += 3) {
    for (std::size_t c = 0; c < 3; ++c) picture.pixels[i + c] = values[i + 2 - c];
  }
  return picture;
}

image::Image labels_of(const Tensor& tensor) {
  image::Image labels(static_cast<int>(tensor.shape()[1]), static_cast<int>(tensor.shape()[0]), 1);
  labels.pixels = tensor.values<std::uint8_t>();
  return labels;
}

int largest_difference(const image::Image& a, const image::Image& b) {
  if (a.width != b.width || a.height != b.height || a.channels != b.channels) return 256;
  int largest = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i)
    largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

/// Gives out recorded draws in their order.
class Recorded {
 public:
  explicit Recorded(const json& draws) : draws_(draws) {}

  Draws draws() {
    return {.uniform =
                [this](double low, double high) {
                  const json& draw = next();
                  const auto value = draw.at("value").get<double>();
                  return draw.at("fn") == "random_sample" ? low + (high - low) * value : value;
                },
            .integer =
                [this](std::int64_t low, std::int64_t high) {
                  const auto value = next().at("value").get<std::int64_t>();
                  EXPECT_TRUE(value >= low && value < high) << value;
                  return value;
                },
            .chance = [this](double /*probability*/) { return next().at("value").is_string(); }};
  }
  bool used_up() const { return at_ == draws_.size(); }

 private:
  const json& next() { return draws_.at(at_++); }

  const json& draws_;
  std::size_t at_ = 0;
};

LabelledPicture apply(LabelledPicture sample, const json& step, const Draws& draws) {
  SegmentationTransform transform;
  const std::string type = step.at("type");
  if (type == "Resize" || type == "RandomResize") {
    transform.long_side = step.at("scale").at(0);
    transform.short_side = step.at("scale").at(1);
  }
  if (type == "Resize") {
    const auto size = image::fitted_size(sample.picture.width, sample.picture.height, transform.long_side,
                                         transform.short_side);
    // Labels are loaded after this step and keep their size.
    sample.picture = image::resize_bilinear_opencv(sample.picture, size.width, size.height);
    sample.labels = image::resize_nearest_opencv(sample.labels, size.width, size.height);
    return sample;
  }
  if (type == "RandomResize") {
    transform.min_ratio = step.at("ratio_range").at(0);
    transform.max_ratio = step.at("ratio_range").at(1);
    return resize_randomly(sample, transform, draws);
  }
  if (type == "RandomCrop") {
    transform.crop = step.at("crop_size").at(0);
    transform.cat_max_ratio = step.at("cat_max_ratio");
    return crop_randomly(sample, transform, draws);
  }
  if (type == "RandomFlip") return flip_randomly(std::move(sample), transform, draws);
  EXPECT_EQ(type, "PhotoMetricDistortion");
  sample.picture = distort_photometrically(std::move(sample.picture), draws);
  return sample;
}

TEST(SegmentationTransform, EqualsTheReferenceOnItsOwnDraws) {
  const Weights expected = read_safetensors(test::golden("segmentation/transforms/cases.safetensors"));
  const json cases = json::parse(read_text(test::golden("segmentation/transforms/cases.json"))).at("cases");
  ASSERT_FALSE(cases.empty());
  for (const json& entry : cases) {
    const auto tag = entry.at("tag").get<std::string>();
    SCOPED_TRACE(tag);
    const std::string loaded = "loaded" + std::to_string(entry.at("image").get<int>());
    if (!expected.tensors.contains(loaded + ".img")) continue;
    LabelledPicture sample{picture_of(expected.tensors.at(loaded + ".img")),
                           labels_of(expected.tensors.at(loaded + ".gt_seg_map"))};
    Recorded recorded(entry.at("random_draws"));
    bool through_hsv = false;
    for (const json& step : entry.at("transforms")) {
      sample = apply(std::move(sample), step, recorded.draws());
      through_hsv = through_hsv || step.at("type") == "PhotoMetricDistortion";
    }
    EXPECT_TRUE(recorded.used_up());
    EXPECT_LE(largest_difference(sample.picture, picture_of(expected.tensors.at(tag + ".img"))),
              through_hsv ? 1 : 0);
    EXPECT_EQ(largest_difference(sample.labels, labels_of(expected.tensors.at(tag + ".gt_seg_map"))), 0);
  }
}

TEST(Photometric, EachPartEqualsTheReference) {
  const Weights file = read_safetensors(test::golden("segmentation/transforms/photometric.safetensors"));
  const image::Image input = picture_of(file.tensors.at("img"));
  int compared = 0;
  for (const auto& [name, tensor] : file.tensors) {
    SCOPED_TRACE(name);
    const std::size_t digits = name.find_first_of("-0123456789");
    if (digits == std::string::npos) continue;
    const std::string kind = name.substr(0, digits);
    const double value = std::stod(name.substr(digits));
    image::Image actual;
    if (kind == "brightness") actual = scale_values(input, 1.0, value);
    if (kind == "contrast") actual = scale_values(input, value, 0.0);
    if (kind == "saturation") actual = scale_saturation(input, value);
    if (kind == "hue") actual = turn_hue(input, static_cast<std::int64_t>(value));
    const bool through_hsv = kind == "saturation" || kind == "hue";
    EXPECT_LE(largest_difference(actual, picture_of(tensor)), through_hsv ? 1 : 0);
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

TEST(Photometric, ColourSpacesEqualOpenCvs) {
  const Weights file = read_safetensors(test::golden("segmentation/transforms/photometric.safetensors"));
  const image::Image grid = picture_of(file.tensors.at("grid_bgr"));
  const image::Image hsv = rgb_to_hsv(grid);
  image::Image expected(hsv.width, hsv.height, 3);
  expected.pixels = file.tensors.at("grid_hsv").values<std::uint8_t>();
  EXPECT_EQ(largest_difference(hsv, expected), 0);
  EXPECT_LE(largest_difference(hsv_to_rgb(hsv), picture_of(file.tensors.at("grid_back"))), 1);
}

TEST(SegmentationTransform, NormalisesAndPads) {
  SegmentationTransform transform{.crop = 3};
  LabelledPicture sample{image::Image(2, 1, 3), image::Image(2, 1, 1)};
  sample.picture.pixels = {10, 20, 30, 40, 50, 60};
  sample.labels.pixels = {4, kIgnored};
  std::vector<float> out(3 * 3 * 4, -1.0F);
  write_sample(sample, transform, out);
  EXPECT_NEAR(out[0], (10 - 123.675) / 58.395, 1e-5);
  EXPECT_NEAR(out[5], (50 - 116.28) / 57.12, 1e-5);
  EXPECT_EQ(out[3], 4.0F);
  EXPECT_EQ(out[7], kIgnored);
  for (std::size_t i = 8; i < out.size(); ++i) EXPECT_EQ(out[i], i % 4 == 3 ? 255.0F : 0.0F) << i;
}

TEST(SegmentationTransform, DependsOnItsRandomNumbersAlone) {
  Random noise(3);
  LabelledPicture sample{image::Image(60, 50, 3), image::Image(60, 50, 1)};
  for (std::uint8_t& value : sample.picture.pixels) value = static_cast<std::uint8_t>(noise.below(256));
  for (std::uint8_t& value : sample.labels.pixels) value = static_cast<std::uint8_t>(noise.below(5));
  const SegmentationTransform transform{.long_side = 128, .short_side = 48, .crop = 32};
  Random first(9);
  Random second(9);
  const LabelledPicture a = augment(sample, transform, draws_of(first));
  const LabelledPicture b = augment(sample, transform, draws_of(second));
  EXPECT_EQ(a.picture, b.picture);
  EXPECT_EQ(a.labels, b.labels);
  EXPECT_EQ(a.picture.width, a.labels.width);
  EXPECT_LE(a.picture.width, transform.crop);
  SegmentationTransform wrong = transform;
  wrong.min_ratio = 3.0;
  EXPECT_THROW(validate(wrong), UsageError);
}

}  // namespace
}  // namespace spatialmamba::data
