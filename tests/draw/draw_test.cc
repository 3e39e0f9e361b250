#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "draw/annotate.h"
#include "draw/canvas.h"
#include "draw/chart.h"
#include "draw/color_map.h"
#include "draw/confusion.h"
#include "draw/grid.h"
#include "draw/heat_maps.h"
#include "spatialmamba/error.h"

namespace spatialmamba::draw {
namespace {

bool same(const std::uint8_t* pixel, Color color) {
  return pixel[0] == color.r && pixel[1] == color.g && pixel[2] == color.b;
}

std::int64_t count_pixels(const image::Image& picture, Color color) {
  std::int64_t count = 0;
  for (std::size_t i = 0; i < picture.pixels.size(); i += 3) count += same(&picture.pixels[i], color) ? 1 : 0;
  return count;
}

image::Image flat_picture(int width, int height, std::uint8_t value) {
  image::Image picture(width, height, 3);
  std::ranges::fill(picture.pixels, value);
  return picture;
}

Chart chart_of(std::vector<double> y) {
  Chart chart{.title = "Loss", .x_label = "epoch", .series = {{"train", {}, std::move(y)}}};
  for (std::size_t i = 0; i < chart.series[0].y.size(); ++i) chart.series[0].x.push_back(double(i + 1));
  return chart;
}

TEST(Canvas, FillsExactlyWhatItIsAskedTo) {
  Canvas canvas(20, 10);
  canvas.fill(3, 2, 5, 4, kRed);
  const image::Image picture = canvas.finish();
  EXPECT_EQ(count_pixels(picture, kRed), 20);
  EXPECT_EQ(count_pixels(picture, kPaper), 180);
  EXPECT_TRUE(same(picture.row(2) + 3 * 3, kRed));
  EXPECT_TRUE(same(picture.row(5) + 7 * 3, kRed));
}

TEST(Canvas, KeepsThePixelsOfAPicturePastedAtItsSize) {
  image::Image source(7, 5, 3);
  for (std::size_t i = 0; i < source.pixels.size(); ++i) source.pixels[i] = static_cast<std::uint8_t>(i * 2);
  Canvas canvas(7, 5);
  canvas.paste(source, 0, 0, 7, 5, false);
  EXPECT_EQ(canvas.finish(), source);
}

TEST(Canvas, TextRunsAndStandsWithinItsBounds) {
  const TextStyle style{.size = 14};
  const double width = text_width("Hello", style);
  EXPECT_GT(width, 20);
  Canvas lying(100, 100);
  lying.text({10, 50}, "Hello", style);
  Canvas standing(100, 100);
  standing.text_upwards({50, 90}, "Hello", style);
  const image::Image a = lying.finish();
  const image::Image b = standing.finish();
  for (int y = 0; y < 100; ++y) {
    for (int x = 0; x < 100; ++x) {
      if (!same(a.row(y) + 3 * x, kPaper)) {
        EXPECT_TRUE(x >= 8 && x <= 12 + width && y >= 34 && y <= 56) << x << ' ' << y;
      }
      if (!same(b.row(y) + 3 * x, kPaper)) {
        EXPECT_TRUE(y <= 92 && y >= 88 - width && x >= 34 && x <= 56) << x << ' ' << y;
      }
    }
  }
  EXPECT_LT(count_pixels(b, kPaper), 10'000) << "the standing text left no mark";
}

TEST(Canvas, RefusesSizesThatAreNoPicture) {
  EXPECT_THROW(Canvas(0, 10), Error);
  EXPECT_THROW(Canvas(10, 1'000'000), Error);
}

TEST(Text, IsShortenedToFitAndCountsLettersNotBytes) {
  const TextStyle style{.size = 12};
  EXPECT_EQ(shortened("cat", style, 100), "cat");
  const std::string cut = shortened("a name that is far too long", style, 80);
  EXPECT_TRUE(cut.ends_with("..."));
  EXPECT_LE(text_width(cut, style), 80);
  EXPECT_EQ(shortened("caf\xC3\xA9", style, 100), "caf?");
}

TEST(ColorMap, SpansDarkToBrightAndMarksNan) {
  const auto luma = [](Color c) { return 0.299 * c.r + 0.587 * c.g + 0.114 * c.b; };
  double previous = -1.0;
  for (int i = 0; i <= 20; ++i) {
    const double bright = luma(color_of(i / 20.0, ColorMap::viridis));
    EXPECT_GT(bright, previous) << "viridis grows brighter throughout";
    previous = bright;
  }
  EXPECT_GT(luma(color_of(0.0, ColorMap::blues)), luma(color_of(1.0, ColorMap::blues)));
  const Color nan = color_of(std::nan(""), ColorMap::viridis);
  EXPECT_EQ(luma(nan), luma(kMuted));
}

TEST(Chart, DrawsItsSeriesAndLeavesGaps) {
  const image::Image whole = draw_charts({chart_of({3, 2, 2, 1})}, "title");
  const image::Image gap = draw_charts({chart_of({3, 2, std::nan(""), 1})}, "title");
  const std::int64_t with_all = count_pixels(whole, series_color(0));
  EXPECT_GT(with_all, 200);
  EXPECT_LT(count_pixels(gap, series_color(0)), with_all);
}

TEST(Chart, CopesWithLittleAndOddData) {
  const double infinity = std::numeric_limits<double>::infinity();
  for (const Chart& chart :
       {chart_of({}), chart_of({1.0}), chart_of({0, 0, 0}), chart_of({infinity, -infinity}),
        chart_of({1e30, -1e30}), chart_of({1e-30, 2e-30}), chart_of({5, 5 + 1e-15})}) {
    EXPECT_GT(draw_charts({chart}, "t").width, 0);
  }
  Chart broken = chart_of({1, 2});
  broken.series[0].x.pop_back();
  EXPECT_THROW(draw_charts({broken}, "t"), Error);
  EXPECT_THROW(draw_charts({}, "t"), Error);
}

TEST(Grid, MarksWrongOnesInRed) {
  const Tile right{flat_picture(28, 28, 90), "cat", "cat", 0.9};
  const Tile wrong{flat_picture(28, 28, 90), "cat", "dog", 0.4};
  EXPECT_EQ(count_pixels(draw_grid({right, right}, "t"), kRed), 0);
  EXPECT_GT(count_pixels(draw_grid({right, wrong}, "t"), kRed), 500);
  EXPECT_THROW(draw_grid({}, "t"), Error);
}

TEST(Grid, TakesPicturesOfAnyShape) {
  const std::vector<Tile> tiles = {{flat_picture(1, 1, 9), "a", "a", 1.0},
                                   {flat_picture(900, 3, 9), "a", "a", 1.0},
                                   {flat_picture(3, 900, 9), "a", "a", 1.0}};
  EXPECT_GT(draw_grid(tiles, "t").height, 100);
}

TEST(Confusion, ColoursTheDiagonalOfAPerfectResult) {
  metrics::ConfusionMatrix matrix(4);
  for (std::int64_t i = 0; i < 4; ++i) matrix.add(i, i);
  const image::Image picture = draw_confusion(matrix, {"a", "b", "c", "d"}, "t");
  const Color full = color_of(1.0, ColorMap::blues);
  EXPECT_GT(count_pixels(picture, full), 4 * 1500);
  EXPECT_THROW(draw_confusion(matrix, {"a"}, "t"), Error);
}

TEST(Confusion, FewClassesLeaveRoomForTheHeading) {
  const auto width = [](std::int64_t images) {
    metrics::ConfusionMatrix matrix(2);
    matrix.set_counts(std::vector<std::int64_t>{images, 0, 0, images});
    return draw_confusion(matrix, {"a", "b"}, "t").width;
  };
  EXPECT_GT(width(1'000'000), width(1)) << "more digits need more room";
}

TEST(Confusion, DrawsAThousandClassesAndNone) {
  metrics::ConfusionMatrix large(1000);
  large.add(3, 999);
  EXPECT_LT(draw_confusion(large, std::vector<std::string>(1000, "name"), "t").width, 2000);
  EXPECT_GT(draw_confusion(metrics::ConfusionMatrix(1), {"only"}, "t").width, 100) << "an empty result";
}

TEST(HeatMaps, ShowTheExtremesInTheEndsOfTheColourMap) {
  const HeatMap map{.title = "m", .height = 2, .width = 2, .values = {-1.0F, 0.2F, 0.4F, 3.0F}};
  const image::Image picture = draw_heat_maps({{"row", {map, map}}}, "t", "s", flat_picture(30, 20, 128));
  EXPECT_GE(count_pixels(picture, color_of(0.0, ColorMap::viridis)), 2 * 9'000);
  EXPECT_GE(count_pixels(picture, color_of(1.0, ColorMap::viridis)), 2 * 9'000);
}

TEST(HeatMaps, RefuseWrongSizesAndTakeFlatOnes) {
  HeatMap map{.title = "m", .height = 2, .width = 3, .values = std::vector<float>(6, 7.0F)};
  EXPECT_GT(draw_heat_maps({{"row", {map}}}, "t", "s").width, 100);
  std::ranges::fill(map.values, std::numeric_limits<float>::quiet_NaN());
  EXPECT_GT(draw_heat_maps({{"row", {map}}}, "t", "s").width, 100);
  map.values.pop_back();
  EXPECT_THROW(draw_heat_maps({{"row", {map}}}, "t", "s"), Error);
  EXPECT_THROW(draw_heat_maps({}, "t", "s"), Error);
}

TEST(Annotate, DrawsBarsInProportion) {
  const image::Image picture = flat_picture(400, 300, 77);
  const image::Image half = annotate(picture, {{"cat", 0.5}}, "t", "");
  const image::Image whole = annotate(picture, {{"cat", 1.0}}, "t", "");
  const double ratio = double(count_pixels(whole, kBlue)) / double(count_pixels(half, kBlue));
  EXPECT_NEAR(ratio, 2.0, 0.05);
  EXPECT_GT(annotate(flat_picture(1, 2000, 5), {}, "t", "note").height, 300);
}

}  // namespace
}  // namespace spatialmamba::draw
