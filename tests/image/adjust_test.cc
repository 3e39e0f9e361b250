#include "image/adjust.h"

#include <gtest/gtest.h>

namespace spatialmamba::image {
namespace {

TEST(Adjust, FactorsZeroOneAndTwo) {
  Image picture(2, 1, 3);
  picture.pixels = {10, 20, 30, 200, 100, 50};
  const Image original = picture;
  for (const auto adjust : {adjust_brightness, adjust_contrast, adjust_saturation, adjust_sharpness}) {
    Image same = original;
    adjust(same, 1.0F);
    EXPECT_EQ(same, original);
  }
  adjust_brightness(picture, 2.0F);
  EXPECT_EQ(picture.pixels, (std::vector<std::uint8_t>{20, 40, 60, 255, 200, 100}));
  picture = original;
  adjust_saturation(picture, 0.0F);
  EXPECT_EQ(picture, with_channels(with_channels(original, 1), 3));
  picture = original;
  adjust_contrast(picture, 0.0F);  // luma 18 and 124
  EXPECT_EQ(picture.pixels, std::vector<std::uint8_t>(6, 71));
}

/// Widths around a vector's length: what is left of a row gets the same as the rest.
TEST(Adjust, SharpnessZeroIsTheWeightedMeanOfTheNeighbours) {
  for (const int channels : {1, 3}) {
    for (int width = 3; width < 24; ++width) {
      Image picture(width, 4, channels);
      for (std::size_t i = 0; i < picture.pixels.size(); ++i) {
        picture.pixels[i] = static_cast<std::uint8_t>(i * i * 37 % 251);
      }
      const Image original = picture;
      adjust_sharpness(picture, 0.0F);
      for (int y = 0; y < picture.height; ++y) {
        for (int i = 0; i < width * channels; ++i) {
          const bool edge = y == 0 || y == 3 || i < channels || i >= (width - 1) * channels;
          int sum = 4 * original.row(y)[i];
          for (int dy = -1; !edge && dy <= 1; ++dy) {
            for (int dx = -1; dx <= 1; ++dx) sum += original.row(y + dy)[i + dx * channels];
          }
          const int expected = edge ? original.row(y)[i] : (2 * sum + 13) / 26;
          ASSERT_EQ(picture.row(y)[i], expected) << width << " " << y << " " << i;
        }
      }
    }
  }
}

TEST(Adjust, TablesCutOffAndLeaveConstantPicturesAlone) {
  Image picture(2, 1, 1);
  picture.pixels = {120, 130};
  solarize_add(picture, 110);
  EXPECT_EQ(picture.pixels, (std::vector<std::uint8_t>{230, 130}));
  auto_contrast(picture);
  EXPECT_EQ(picture.pixels, (std::vector<std::uint8_t>{255, 0}));
  posterize(picture, 1);
  EXPECT_EQ(picture.pixels, (std::vector<std::uint8_t>{128, 0}));
  posterize(picture, 0);
  EXPECT_EQ(picture.pixels, (std::vector<std::uint8_t>{0, 0}));
  auto_contrast(picture);
  equalize(picture);
  EXPECT_EQ(picture.pixels, (std::vector<std::uint8_t>{0, 0}));
}

}  // namespace
}  // namespace spatialmamba::image
