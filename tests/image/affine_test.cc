#include "image/affine.h"

#include <gtest/gtest.h>

#include "base/random.h"
#include "spatialmamba/error.h"

namespace spatialmamba::image {
namespace {

Image noise(int width, int height, int channels) {
  Image picture(width, height, channels);
  Random random(11);
  for (std::uint8_t& value : picture.pixels) value = static_cast<std::uint8_t>(random.below(256));
  return picture;
}

TEST(Affine, WholePixelsMoveExactlyAndTheRestIsFilled) {
  const Image picture = noise(13, 7, 3);
  for (const Filter filter : {Filter::bilinear, Filter::bicubic}) {
    const Image moved = transform(picture, {.x0 = 4.0, .y0 = -2.0}, filter, {1, 2, 3});
    for (int y = 0; y < picture.height; ++y) {
      for (int x = 0; x < picture.width; ++x) {
        const bool inside = x + 4 < picture.width && y >= 2;
        for (int c = 0; c < 3; ++c) {
          const int expected = inside ? picture.row(y - 2)[3 * (x + 4) + c] : c + 1;
          ASSERT_EQ(moved.row(y)[3 * x + c], expected) << x << " " << y;
        }
      }
    }
  }
}

TEST(Affine, QuarterAndHalfTurnsAreExact) {
  const Image picture = noise(9, 9, 1);
  const Image quarter = transform(picture, rotation(90.0, 9, 9), Filter::bicubic, {});
  const Image half = transform(picture, rotation(-180.0, 9, 9), Filter::bicubic, {});
  for (int y = 0; y < 9; ++y) {
    for (int x = 0; x < 9; ++x) {
      EXPECT_EQ(quarter.row(8 - x)[y], picture.row(y)[x]);
      EXPECT_EQ(half.row(8 - y)[8 - x], picture.row(y)[x]);
    }
  }
}

TEST(Affine, ConstantPicturesStayConstant) {
  Image picture(31, 17, 3);
  std::ranges::fill(picture.pixels, std::uint8_t{201});
  for (const Filter filter : {Filter::bilinear, Filter::bicubic}) {
    EXPECT_EQ(transform(picture, rotation(23.0, 31, 17), filter, {201, 201, 201}), picture);
  }
}

TEST(Affine, RefusesOtherFilters) {
  EXPECT_THROW(transform(noise(3, 3, 3), {}, Filter::lanczos, {}), Error);
}

}  // namespace
}  // namespace spatialmamba::image
