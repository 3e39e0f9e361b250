// Score maps made row by row: resizing against PyTorch's, windows, mirror images, averages, best classes.
#include "segmentation/scores.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/random.h"
#include "segmentation/predict.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::segmentation {
namespace {

/// (1, C, H, W) -> a map.
std::shared_ptr<const ScoreMap> map_of(const Tensor& tensor) {
  const Shape& shape = tensor.shape();
  auto map = std::make_shared<ScoreMap>();
  map->classes = shape[1];
  map->height = shape[2];
  map->width = shape[3];
  const std::vector<float> values = tensor.values<float>();
  const std::int64_t points = map->height * map->width;
  for (std::int64_t point = 0; point < points; ++point) {
    for (std::int64_t c = 0; c < map->classes; ++c) {
      map->values.push_back(values[static_cast<std::size_t>(c * points + point)]);
    }
  }
  return map;
}

std::shared_ptr<const ScoreMap> random_map(std::int64_t height, std::int64_t width, std::int64_t classes) {
  Random random(static_cast<std::uint64_t>(height * 1000 + width));
  auto map = std::make_shared<ScoreMap>(ScoreMap{height, width, classes, {}});
  for (std::int64_t i = 0; i < height * width * classes; ++i) {
    map->values.push_back(static_cast<float>(random.normal()));
  }
  return map;
}

std::vector<double> all_rows(const ScoreRows& rows) {
  std::vector<double> values;
  std::vector<float> row(rows.row_values());
  for (std::int64_t y = 0; y < rows.height; ++y) {
    rows.read(y, row);
    values.insert(values.end(), row.begin(), row.end());
  }
  return values;
}

std::vector<double> widened(const ScoreMap& map) {
  return {map.values.begin(), map.values.end()};
}

TEST(ScoreRows, ResizeAsPyTorchDoes) {
  const Weights file = read_safetensors(test::golden("segmentation/components/resize.safetensors"));
  int compared = 0;
  for (const auto& [name, tensor] : file.tensors) {
    if (name.starts_with("pool") || !name.ends_with(".in")) continue;
    SCOPED_TRACE(name);
    const auto expected = map_of(file.tensors.at(name.substr(0, name.size() - 2) + "out"));
    const auto actual = all_rows(resized(rows_of(map_of(tensor)), expected->height, expected->width));
    EXPECT_LE(test::relative_deviation(actual, widened(*expected)), 1e-5);
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

TEST(ScoreRows, MirroringTwiceChangesNothing) {
  const auto map = random_map(3, 5, 2);
  const std::vector<double> once = all_rows(mirrored(rows_of(map)));
  EXPECT_EQ(once[0], map->values[8]);
  EXPECT_EQ(once[1], map->values[9]);
  EXPECT_EQ(all_rows(mirrored(mirrored(rows_of(map)))), widened(*map));
}

TEST(ScoreRows, TheMeanOfSoftmaxIsADistribution) {
  const auto first = random_map(4, 3, 6);
  const auto second = random_map(3, 4, 6);
  const std::vector<double> mean = all_rows(mean_softmax({rows_of(first), resized(rows_of(second), 4, 3)}));
  for (std::size_t at = 0; at < mean.size(); at += 6) {
    double sum = 0.0;
    for (std::size_t c = 0; c < 6; ++c) sum += mean[at + c];
    EXPECT_NEAR(sum, 1.0, 1e-6);
  }
  EXPECT_THROW(mean_softmax({rows_of(first), rows_of(second)}), Error);
}

TEST(ScoreRows, TheFirstOfEqualScoresWins) {
  const auto map = std::make_shared<ScoreMap>(ScoreMap{1, 2, 3, {0, 2, 2, 1, 1, 1}});
  EXPECT_EQ(best_classes(rows_of(map)).pixels, (std::vector<std::uint8_t>{1, 0}));
}

TEST(ScoreRows, TheBestOfAnyNumberOfClassesWins) {
  for (const std::int64_t classes : {1, 2, 15, 16, 17, 32, 150, 255}) {
    SCOPED_TRACE(classes);
    const auto map = random_map(3, 40, classes);
    const image::Image labels = best_classes(rows_of(map));
    for (std::size_t point = 0; point < labels.pixels.size(); ++point) {
      const auto first = map->values.begin() + static_cast<std::int64_t>(point) * classes;
      EXPECT_EQ(labels.pixels[point], std::max_element(first, first + classes) - first);
    }
  }
}

TEST(ScoreRows, BandsOfRowsGiveTheSameLabels) {
  const auto map = random_map(20, 9, 30);
  const auto make = [&] { return resized(rows_of(map), 83, 31); };
  ThreadPool pool(3);
  EXPECT_EQ(best_classes(make, pool.parallel_for()), best_classes(make()));
}

/// A network whose scores are the means of 4 x 4 pixels: what windows see equals what the whole picture
/// shows.
ScoreMap quarter(const NetworkInput& input) {
  ScoreMap map{(input.height + 3) / 4, (input.width + 3) / 4, 3, {}};
  for (std::int64_t y = 0; y < map.height; ++y) {
    for (std::int64_t x = 0; x < map.width; ++x) {
      for (std::int64_t c = 0; c < 3; ++c) {
        map.values.push_back(input.values[static_cast<std::size_t>((4 * y * input.width + 4 * x) * 3 + c)]);
      }
    }
  }
  return map;
}

TEST(Sliding, AveragesItsWindowsByCount) {
  Random random(4);
  NetworkInput input{21, 30, {}};
  for (int i = 0; i < 21 * 30 * 3; ++i) input.values.push_back(static_cast<float>(random.uniform()));
  std::set<std::pair<int, int>> seen;
  const Window window{.size = 12, .stride = 8};
  const auto crop = [&](const image::Rect& part) {
    seen.insert({part.left, part.top});
    NetworkInput cut{part.height, part.width, {}};
    for (int y = 0; y < part.height; ++y) {
      const auto from = input.values.begin() + ((part.top + y) * input.width + part.left) * 3;
      cut.values.insert(cut.values.end(), from, from + 3 * part.width);
    }
    return cut;
  };
  const std::vector<double> actual = all_rows(slide(crop, 21, 30, window, quarter));
  // Windows end flush with the picture.
  EXPECT_EQ(seen, (std::set<std::pair<int, int>>{{0, 0},
                                                 {8, 0},
                                                 {16, 0},
                                                 {18, 0},
                                                 {0, 8},
                                                 {8, 8},
                                                 {16, 8},
                                                 {18, 8},
                                                 {0, 9},
                                                 {8, 9},
                                                 {16, 9},
                                                 {18, 9}}));
  std::vector<double> sum(actual.size());
  std::vector<double> count(actual.size());
  for (const auto& [left, top] : seen) {
    const auto cut = std::make_shared<const ScoreMap>(quarter(crop({left, top, 12, 12})));
    const std::vector<double> scores = all_rows(resized(rows_of(cut), 12, 12));
    for (std::size_t y = 0; y < 12; ++y) {
      for (std::size_t i = 0; i < 36; ++i) {
        const std::size_t at =
            ((static_cast<std::size_t>(top) + y) * 30 + static_cast<std::size_t>(left)) * 3 + i;
        sum[at] += scores[y * 36 + i];
        ++count[at];
      }
    }
  }
  for (std::size_t i = 0; i < sum.size(); ++i) ASSERT_NEAR(actual[i], sum[i] / count[i], 1e-6) << i;
}

TEST(Sliding, KeepsFewRowsOfWindows) {
  // A network that counts how many of its answers are alive would need hooks; the number of windows that were
  // computed when a row is read tells as much: never further than the rows of windows over it.
  int windows = 0;
  const Network network = [&](const NetworkInput& input) {
    ++windows;
    return quarter(input);
  };
  const auto crop = [](const image::Rect& part) {
    return NetworkInput{part.height, part.width,
                        std::vector<float>(static_cast<std::size_t>(part.height * part.width * 3))};
  };
  const ScoreRows rows = slide(crop, 64, 16, {.size = 16, .stride = 8}, network);
  std::vector<float> row(rows.row_values());
  rows.read(0, row);
  EXPECT_EQ(windows, 1);
  rows.read(8, row);
  EXPECT_EQ(windows, 2);
  rows.read(63, row);
  EXPECT_LE(windows, 7);
}

TEST(Prediction, StripsOfAWidePictureGiveTheSameLabels) {
  image::Image picture(203, 30, 3);
  Random random(9);
  for (std::uint8_t& value : picture.pixels) value = static_cast<std::uint8_t>(random.below(256));
  int windows = 0;
  const Network network = [&](const NetworkInput& input) {
    ++windows;
    return quarter(input);
  };
  std::vector<PredictOptions> cases;
  for (const int stride : {5, 8, 11}) {
    const PredictOptions native{
        .long_side = 0, .short_side = 0, .window = Window{.size = 12, .stride = stride}};
    PredictOptions fitted = augmented(native);
    fitted.long_side = 331;
    fitted.short_side = 47;
    cases.insert(cases.end(), {native, augmented(native), fitted});
  }
  for (const PredictOptions& options : cases) {
    SCOPED_TRACE(fmt::format("stride {}, {} scales of {}", options.window->stride, options.ratios.size(),
                             options.long_side));
    windows = 0;
    const image::Image whole = best_classes(predict_scores(picture, options, network));
    const int once = windows;
    windows = 0;
    EXPECT_EQ(predict_labels(picture, options, network), whole);
    EXPECT_GT(windows, once);  // where windows lie across two strips
    EXPECT_LE(windows, once * 3 / 2);
  }
}

TEST(Prediction, FitsFlipsAndReturnsToThePicturesSize) {
  image::Image picture(40, 24, 3);
  Random random(8);
  for (std::uint8_t& value : picture.pixels) value = static_cast<std::uint8_t>(random.below(256));
  PredictOptions options{.long_side = 80, .short_side = 48};
  std::vector<std::int64_t> widths;
  const Network network = [&](const NetworkInput& input) {
    widths.push_back(input.width);
    return quarter(input);
  };
  const image::Image labels = predict_labels(picture, augmented(options), network);
  EXPECT_EQ(labels.width, 40);
  EXPECT_EQ(labels.height, 24);
  EXPECT_EQ(widths, (std::vector<std::int64_t>{60, 60, 80, 80, 100, 100}));
  widths.clear();
  options = {.long_side = 0, .short_side = 0, .window = Window{.size = 16, .stride = 16}};
  EXPECT_EQ(predict_labels(picture, options, network).width, 40);
  EXPECT_EQ(widths.size(), 6U);
}

TEST(Prediction, RefusesWhatMeansNothing) {
  PredictOptions options;
  options.short_side = 0;
  EXPECT_THROW(validate(options), UsageError);
  options = {};
  options.ratios = {0.0};
  EXPECT_THROW(validate(options), UsageError);
  options = {};
  options.window = Window{.size = 8, .stride = 9};
  EXPECT_THROW(validate(options), UsageError);
}

}  // namespace
}  // namespace spatialmamba::segmentation
