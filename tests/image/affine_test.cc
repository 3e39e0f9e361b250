#include "image/affine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

#include "base/random.h"
#include "image/instruction_sets.h"
#include "spatialmamba/error.h"

namespace spatialmamba::image {
namespace {

Image noise(int width, int height, int channels) {
  Image picture(width, height, channels);
  Random random(11);
  for (std::uint8_t& value : picture.pixels) value = static_cast<std::uint8_t>(random.below(256));
  return picture;
}

/// Few values, side by side: sums of neighbours are often whole numbers, or nearly.
Image blocks(int width, int height, int channels) {
  Image picture = noise(width, height, channels);
  for (int y = 0; y < height; ++y) {
    for (int i = 0; i < width * channels; ++i) {
      picture.row(y)[i] = picture.row(y / 8 * 8)[i / channels / 8 * 8 * channels + i % channels] / 64 * 85;
    }
  }
  return picture;
}

/// What Pillow computes between four values (a = -1), in its order.
double cubic(const std::array<double, 4>& v, double d) {
  const double p2 = -v[0] + v[2];
  const double p3 = 2 * (v[0] - v[1]) + v[2] - v[3];
  const double p4 = -v[0] + v[1] - v[2] + v[3];
  return v[1] + d * (p2 + d * (p3 + d * p4));
}

std::uint8_t bicubic(const Image& picture, double x, double y, int channel) {
  const double left = std::floor(x - 0.5);
  const double top = std::floor(y - 0.5);
  std::array<double, 4> rows{};
  for (int j = 0; j < 4; ++j) {
    std::array<double, 4> values{};
    const std::uint8_t* row = picture.row(std::clamp(static_cast<int>(top) + j - 1, 0, picture.height - 1));
    for (int i = 0; i < 4; ++i) {
      const int column = std::clamp(static_cast<int>(left) + i - 1, 0, picture.width - 1);
      values[static_cast<std::size_t>(i)] = row[column * picture.channels + channel];
    }
    rows[static_cast<std::size_t>(j)] = cubic(values, x - 0.5 - left);
  }
  return static_cast<std::uint8_t>(std::clamp(cubic(rows, y - 0.5 - top), 0.0, 255.0));
}

Image moved_one_by_one(const Image& picture, const Affine& a, const std::array<std::uint8_t, 3>& fill) {
  Image out(picture.width, picture.height, picture.channels);
  for (int row = 0; row < out.height; ++row) {
    for (int column = 0; column < out.width; ++column) {
      const double x = a.xx * (column + 0.5) + a.xy * (row + 0.5) + a.x0;
      const double y = a.yx * (column + 0.5) + a.yy * (row + 0.5) + a.y0;
      const bool inside = x >= 0 && x < picture.width && y >= 0 && y < picture.height;
      for (int c = 0; c < out.channels; ++c) {
        out.row(row)[column * out.channels + c] =
            inside ? bicubic(picture, x, y, c) : fill[static_cast<std::size_t>(c)];
      }
    }
  }
  return out;
}

std::vector<Affine> many_affines(int width, int height) {
  std::vector<Affine> affines = {{}, {.x0 = 0.5}, {.x0 = 0.25, .y0 = -0.5}, {.x0 = 2.0 * width}};
  Random random(5);
  for (int i = 0; i < 6; ++i) {
    affines.push_back(rotation(random.uniform(-180.0, 180.0), width, height));
    affines.push_back({.xy = random.uniform(-0.3, 0.3)});
    affines.push_back({.yx = random.uniform(-0.3, 0.3)});
    affines.push_back({.x0 = random.uniform(-0.45, 0.45) * width});
    affines.push_back({.xx = 0.3, .xy = -0.1, .x0 = random.uniform(0.0, 9.0), .yx = 0.2, .yy = 2.0});
  }
  return affines;
}

TEST(Affine, BicubicIsTheReferencesDoubleArithmeticToTheBit) {
  constexpr std::array<std::uint8_t, 3> kFill = {124, 116, 104};
  const auto check = [&](const Image& picture) {
    for (const Affine& affine : many_affines(picture.width, picture.height)) {
      ASSERT_EQ(transform(picture, affine, Filter::bicubic, kFill), moved_one_by_one(picture, affine, kFill))
          << picture.width << " x " << picture.height << " x " << picture.channels << ", from x " << affine.xx
          << " " << affine.xy << " " << affine.x0 << ", y " << affine.yx << " " << affine.yy << " "
          << affine.y0;
    }
  };
  on_every_instruction_set([&] {
    for (const int channels : {1, 3}) {
      for (const auto make : {noise, blocks}) {
        for (const auto& [width, height] : {std::pair{131, 67}, {64, 9}, {5, 2}, {1, 1}}) {
          check(make(width, height, channels));
        }
      }
    }
  });
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
