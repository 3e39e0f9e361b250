#include "data/augment.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::data {
namespace {

using image::Image;
using test::golden;

Image noise(int width, int height, int channels, std::uint64_t seed) {
  Image picture(width, height, channels);
  Random random(seed);
  for (std::uint8_t& value : picture.pixels) value = static_cast<std::uint8_t>(random.below(256));
  return picture;
}

/// Hands out recorded draws and checks that they are asked for in the recorded order.
class RecordedDraws {
 public:
  RecordedDraws(const nlohmann::json& draws, std::string kinds) : draws_(draws), kinds_(std::move(kinds)) {}

  double uniform(double low, double high) {
    const double value = next('u').get<double>();
    EXPECT_GE(value, low);
    EXPECT_LE(value, high);
    return value;
  }
  std::int64_t below(std::int64_t n) {
    const auto value = next('i').get<std::int64_t>();
    EXPECT_LT(value, n);
    return value;
  }
  bool all_used() const { return at_ == draws_.size(); }

 private:
  const nlohmann::json& next(char kind) {
    EXPECT_EQ(kinds_.at(at_), kind);
    return draws_.at(at_++);
  }

  const nlohmann::json& draws_;
  std::string kinds_;
  std::size_t at_ = 0;
};

TEST(RandomResizedCrop, RecordedDrawsGiveTheGoldenBoxes) {
  const auto cases =
      nlohmann::json::parse(read_text(golden("classification/data/random_resized_crop_params.json")));
  ASSERT_FALSE(cases.empty());
  for (const auto& item : cases) {
    RecordedDraws draws(item.at("draws"), item.at("draw_kinds"));
    const image::Rect box = draw_resized_crop(item.at("w"), item.at("h"), RandomResizedCrop{}, draws);
    const image::Rect expected{
        .left = item.at("j"), .top = item.at("i"), .width = item.at("crop_w"), .height = item.at("crop_h")};
    EXPECT_EQ(box, expected) << item;
    EXPECT_TRUE(draws.all_used()) << item;
  }
}

TEST(RandomResizedCrop, BoxesLieInsideOfPicturesOfAnyShape) {
  Random random(1);
  for (const auto& [width, height] : {std::pair{1, 1}, {1, 500}, {500, 1}, {3, 2}, {224, 224}, {1000, 30}}) {
    for (int i = 0; i < 200; ++i) {
      EXPECT_NO_THROW(image::require_inside(width, height, draw_resized_crop(width, height, {}, random)));
    }
  }
}

TrainTransform small_transform() {
  TrainTransform transform;
  transform.format = {.height = 24, .width = 32, .channels = 3, .mean = {0, 0, 0}, .std = {1, 1, 1}};
  return transform;
}

std::vector<float> sample(const TrainTransform& transform, const Image& picture, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> out(transform.format.values());
  apply(transform, picture, random, out);
  return out;
}

TEST(TrainTransform, TheSameRandomStreamGivesTheSameSample) {
  TrainTransform transform = small_transform();
  transform.color_jitter = {.brightness = 0.4, .contrast = 0.4, .saturation = 0.4};
  transform.erasing.probability = 0.5;
  const Image picture = noise(50, 40, 3, 1);
  EXPECT_EQ(sample(transform, picture, 5), sample(transform, picture, 5));
  EXPECT_NE(sample(transform, picture, 5), sample(transform, picture, 6));
}

TEST(TrainTransform, FlipsAsOftenAsAsked) {
  TrainTransform transform = small_transform();
  transform.crop = CropMode::padded;
  const Image picture = noise(32, 24, 3, 2);
  std::vector<float> plain(transform.format.values());
  image::normalize(picture, transform.format, plain);
  std::vector<float> mirrored(transform.format.values());
  image::normalize(image::flip_horizontal(picture), transform.format, mirrored);
  int flips = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const std::vector<float> out = sample(transform, picture, seed);
    EXPECT_TRUE(out == plain || out == mirrored);
    flips += out == mirrored ? 1 : 0;
  }
  EXPECT_NEAR(flips, 200, 50);
  transform.flip_probability = 0;
  EXPECT_EQ(sample(transform, picture, 3), plain);
}

TEST(TrainTransform, PaddedCropsShiftByAtMostThePadding) {
  TrainTransform transform = small_transform();
  transform.format.channels = 1;
  transform.crop = CropMode::padded;
  transform.padding = 2;
  transform.flip_probability = 0;
  Image picture(32, 24, 1);
  picture.row(10)[15] = 255;
  std::vector<int> met(25);
  for (std::uint64_t seed = 0; seed < 600; ++seed) {
    const std::vector<float> out = sample(transform, picture, seed);
    const auto lit = std::find(out.begin(), out.end(), 1.0F) - out.begin();
    const auto dy = lit / 32 - 10;
    const auto dx = lit % 32 - 15;
    ASSERT_TRUE(std::abs(dy) <= 2 && std::abs(dx) <= 2) << dy << ' ' << dx;
    ++met[static_cast<std::size_t>((dy + 2) * 5 + dx + 2)];
  }
  EXPECT_EQ(std::count(met.begin(), met.end(), 0), 0) << "some shift never happened";
  // What comes in from outside is black, and nothing of the far side wraps around.
  const Image white = [] {
    Image out(32, 24, 1);
    std::fill(out.pixels.begin(), out.pixels.end(), std::uint8_t{255});
    return out;
  }();
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const std::vector<float> out = sample(transform, white, seed);
    for (std::size_t y = 2; y < 22; ++y) {
      for (std::size_t x = 2; x < 30; ++x) EXPECT_EQ(out[y * 32 + x], 1.0F);
    }
  }
}

TEST(TrainTransform, PaddedCropsResizeOtherSizes) {
  TrainTransform transform = small_transform();
  transform.crop = CropMode::padded;
  transform.padding = 40;  // more than the picture: all black at times, never out of bounds
  for (std::uint64_t seed = 0; seed < 50; ++seed) sample(transform, noise(9, 70, 3, seed), seed);
}

TEST(RandomErasing, ReplacesARectangleByNoise) {
  TrainTransform transform = small_transform();
  transform.format.mean = {100, 100, 100};  // so that no picture's value looks like noise
  transform.erasing.probability = 1.0;
  const Image picture = noise(40, 40, 3, 3);
  int erased_samples = 0;
  double sum = 0.0;
  double squares = 0.0;
  int count = 0;
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    const std::vector<float> out = sample(transform, picture, seed);
    int top = 24, bottom = -1, left = 32, right = -1, pixels = 0;
    for (int y = 0; y < 24; ++y) {
      for (int x = 0; x < 32; ++x) {
        const float value = out[static_cast<std::size_t>((y * 32 + x) * 3)];
        if (value < -50) continue;
        top = std::min(top, y), bottom = std::max(bottom, y), left = std::min(left, x),
        right = std::max(right, x);
        ++pixels, ++count;
        sum += value, squares += static_cast<double>(value) * value;
      }
    }
    EXPECT_EQ(pixels, pixels == 0 ? 0 : (bottom - top + 1) * (right - left + 1)) << "not a rectangle";
    EXPECT_LE(pixels, 24 * 32 * 2 / 5);
    erased_samples += pixels > 0 ? 1 : 0;
  }
  EXPECT_GT(erased_samples, 95);
  EXPECT_NEAR(sum / count, 0.0, 0.05);
  EXPECT_NEAR(squares / count, 1.0, 0.05);
  transform.erasing.probability = 0.0;
  for (const float value : sample(transform, picture, 1)) EXPECT_LT(value, -50);
}

TEST(TrainTransform, ChannelsFollowTheFormat) {
  TrainTransform transform = small_transform();
  EXPECT_EQ(sample(transform, noise(9, 9, 1, 4), 1).size(), 24U * 32U * 3U);
  transform.format.channels = 1;
  EXPECT_EQ(sample(transform, noise(9, 9, 3, 4), 1).size(), 24U * 32U);
}

TEST(TrainTransform, RefusesWhatCannotBe) {
  const auto refuses = [](auto change) {
    TrainTransform transform;
    change(transform);
    EXPECT_THROW(validate(transform), UsageError);
  };
  EXPECT_NO_THROW(validate(TrainTransform{}));
  refuses([](TrainTransform& t) { t.flip_probability = 1.5; });
  refuses([](TrainTransform& t) { t.erasing.probability = -0.1; });
  refuses([](TrainTransform& t) { t.resized_crop.min_area = 2; });
  refuses([](TrainTransform& t) { t.resized_crop.min_ratio = 0; });
  refuses([](TrainTransform& t) { t.padding = -1; });
  refuses([](TrainTransform& t) { t.color_jitter.contrast = -1; });
  refuses([](TrainTransform& t) { t.format.channels = 4; });
}

}  // namespace
}  // namespace spatialmamba::data
