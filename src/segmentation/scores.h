#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/parallel.h"
#include "image/image.h"

namespace spatialmamba::segmentation {

/// Scores of every class at every point: values[(y * width + x) * classes + c].
struct ScoreMap {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t classes = 0;
  std::vector<float> values;
};

/// A map of scores that is made row by row, so that one of millions of pixels and hundreds of classes never
/// exists as a whole. Rows are asked for from the top down; going back is allowed only to the row just read.
struct ScoreRows {
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t classes = 0;
  /// Writes row y: width x classes floats.
  std::function<void(std::int64_t y, std::span<float> out)> read;

  std::size_t row_values() const { return static_cast<std::size_t>(width * classes); }
};

/// Some columns of a map: [begin, end) of its `width`.
struct Columns {
  std::int64_t begin = 0;
  std::int64_t end = 0;
  std::int64_t width = 0;

  std::int64_t count() const { return end - begin; }
};

/// All columns of a map.
constexpr Columns all_columns(std::int64_t width) {
  return {0, width, width};
}

/// The columns of a map `width` wide that resized() needs for some columns of its result.
Columns columns_under(const Columns& columns, std::int64_t width);

/// The rows of a whole map.
ScoreRows rows_of(std::shared_ptr<const ScoreMap> map);

/// Bilinear between the points' centres, the border repeated: PyTorch's interpolate() with
/// align_corners=False, in its own single-precision arithmetic.
ScoreRows resized(ScoreRows source, std::int64_t height, std::int64_t width);
/// Some columns of the same, made of a source that holds the columns `held` of its map: at least those under
/// the wanted ones.
ScoreRows resized(ScoreRows source, const Columns& held, std::int64_t height, const Columns& wanted);

/// Left and right exchanged.
ScoreRows mirrored(ScoreRows source);

/// The mean of the sources' soft-max over the classes. They have the same size.
ScoreRows mean_softmax(std::vector<ScoreRows> sources);

/// The class with the highest score of each point (the first of equals), 1 channel. At most 255 classes.
image::Image best_classes(const ScoreRows& scores);
/// The same in bands of rows, each of which reads rows of its own.
image::Image best_classes(const std::function<ScoreRows()>& make_scores, const ParallelFor& parallel);

}  // namespace spatialmamba::segmentation
