#include "image/image.h"

#include <gtest/gtest.h>

#include "spatialmamba/error.h"

namespace spatialmamba::image {
namespace {

Image counting(int width, int height, int channels) {
  Image picture(width, height, channels);
  std::uint8_t value = 0;
  for (std::uint8_t& pixel : picture.pixels) pixel = value++;
  return picture;
}

TEST(Picture, CropCopiesThePart) {
  const Image part = crop(counting(4, 3, 3), {.left = 1, .top = 1, .width = 2, .height = 2});
  EXPECT_EQ(part.pixels, (std::vector<std::uint8_t>{15, 16, 17, 18, 19, 20, 27, 28, 29, 30, 31, 32}));
  EXPECT_THROW(crop(part, {.left = 1, .top = 0, .width = 2, .height = 1}), Error);
  EXPECT_THROW(crop(part, {.left = 0, .top = 0, .width = 0, .height = 1}), Error);
}

TEST(Picture, FlipMirrorsPixelsNotChannels) {
  EXPECT_EQ(flip_horizontal(counting(2, 2, 3)).pixels,
            (std::vector<std::uint8_t>{3, 4, 5, 0, 1, 2, 9, 10, 11, 6, 7, 8}));
  const Image odd = counting(5, 3, 1);
  EXPECT_EQ(flip_horizontal(flip_horizontal(odd)), odd);
}

TEST(Picture, GreyAndColourConvertAsPillowDoes) {
  Image colour(4, 1, 3);
  colour.pixels = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 200, 77};
  // 0.299, 0.587, 0.114, rounded
  EXPECT_EQ(with_channels(colour, 1).pixels, (std::vector<std::uint8_t>{76, 150, 29, 129}));
  const Image grey = counting(3, 2, 1);
  EXPECT_EQ(with_channels(with_channels(grey, 3), 1), grey);
  EXPECT_EQ(with_channels(colour, 3), colour);
  EXPECT_THROW(with_channels(grey, 4), Error);
}

}  // namespace
}  // namespace spatialmamba::image
