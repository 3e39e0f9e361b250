#include "segmentation/scores.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/error.h"
#include "kernels/resize_map.h"

namespace spatialmamba::segmentation {
namespace {

using kernels::Neighbours;
using kernels::neighbours_of;

constexpr std::int64_t kMostClasses = 255;

/// Resizes a source; keeps the two of its rows that the last output row lay between, already as wide as the
/// output: several output rows lie between the same two.
class Resizer {
 public:
  Resizer(ScoreRows source, const Columns& held, std::int64_t height, const Columns& wanted)
      : source_(std::move(source)), height_(height), narrow_(source_.row_values()) {
    for (std::int64_t x = wanted.begin; x < wanted.end; ++x) {
      columns_.push_back(neighbours_of(x, held.width, wanted.width));
      columns_.back().first -= held.begin;
      columns_.back().second -= held.begin;
    }
    for (Row& row : rows_) row.values.resize(static_cast<std::size_t>(wanted.count() * source_.classes));
  }

  void read(std::int64_t y, std::span<float> out) {
    const Neighbours at = neighbours_of(y, source_.height, height_);
    const float* above = row(at.first, at.second);
    const float* below = row(at.second, at.first);
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = (1.0F - at.share) * above[i] + at.share * below[i];
    }
  }

 private:
  struct Row {
    std::int64_t number = -1;
    std::vector<float> values;
  };

  /// Row `number`, read into the place that does not hold row `keep`.
  const float* row(std::int64_t number, std::int64_t keep) {
    for (const Row& row : rows_) {
      if (row.number == number) return row.values.data();
    }
    Row& place = rows_[rows_[0].number == keep || rows_[0].number > rows_[1].number ? 1 : 0];
    source_.read(number, narrow_);
    widen(place.values.data());
    place.number = number;
    return place.values.data();
  }

  void widen(float* out) const {
    const auto classes = static_cast<std::size_t>(source_.classes);
    for (const Neighbours<float>& x : columns_) {
      const float* left = narrow_.data() + static_cast<std::size_t>(x.first) * classes;
      const float* right = narrow_.data() + static_cast<std::size_t>(x.second) * classes;
      for (std::size_t c = 0; c < classes; ++c) {
        *out++ = (1.0F - x.share) * left[c] + x.share * right[c];
      }
    }
  }

  ScoreRows source_;
  std::int64_t height_;
  std::vector<Neighbours<float>> columns_;
  std::vector<float> narrow_;  ///< a row of the source
  std::array<Row, 2> rows_;
};

/// The first of the largest values. Lanes of their own let the compiler compare many at once.
std::int64_t first_largest(std::span<const float> values) {
  constexpr std::size_t kLanes = 16;
  std::array<float, kLanes> largest{};
  largest.fill(-INFINITY);
  std::size_t i = 0;
  for (; i + kLanes <= values.size(); i += kLanes) {
    for (std::size_t k = 0; k < kLanes; ++k) {
      largest[k] = values[i + k] > largest[k] ? values[i + k] : largest[k];
    }
  }
  const auto rest = values.subspan(i);
  float all = *std::ranges::max_element(largest);
  for (const float value : rest) all = value > all ? value : all;
  const auto found = std::ranges::find(values, all);
  return found == values.end() ? 0 : found - values.begin();
}

/// exp(x - max) / sum for the classes of one point, added to `sum` with a weight.
void add_softmax(std::span<const float> scores, float weight, std::span<float> sum,
                 std::vector<float>& exponentials) {
  const float largest = *std::max_element(scores.begin(), scores.end());
  float total = 0.0F;
  for (std::size_t c = 0; c < scores.size(); ++c) {
    exponentials[c] = std::exp(scores[c] - largest);
    total += exponentials[c];
  }
  for (std::size_t c = 0; c < scores.size(); ++c) sum[c] += weight * (exponentials[c] / total);
}

struct Rows {
  std::int64_t begin = 0;
  std::int64_t end = 0;
};

void label_rows(const ScoreRows& scores, const Rows& rows, image::Image& labels) {
  const auto classes = static_cast<std::size_t>(scores.classes);
  std::vector<float> row(scores.row_values());
  for (std::int64_t y = rows.begin; y < rows.end; ++y) {
    scores.read(y, row);
    std::uint8_t* to = labels.row(static_cast<int>(y));
    for (std::size_t at = 0; at < row.size(); at += classes) {
      *to++ = static_cast<std::uint8_t>(first_largest(std::span<const float>(row).subspan(at, classes)));
    }
  }
}

}  // namespace

ScoreRows rows_of(std::shared_ptr<const ScoreMap> map) {
  ScoreRows rows{map->height, map->width, map->classes, {}};
  rows.read = [map = std::move(map), values = rows.row_values()](std::int64_t y, std::span<float> out) {
    std::copy_n(map->values.begin() + y * static_cast<std::int64_t>(values), values, out.begin());
  };
  return rows;
}

Columns columns_under(const Columns& columns, std::int64_t width) {
  return {neighbours_of(columns.begin, width, columns.width).first,
          neighbours_of(columns.end - 1, width, columns.width).second + 1, width};
}

ScoreRows resized(ScoreRows source, std::int64_t height, std::int64_t width) {
  const Columns held = all_columns(source.width);
  return resized(std::move(source), held, height, all_columns(width));
}

ScoreRows resized(ScoreRows source, const Columns& held, std::int64_t height, const Columns& wanted) {
  if (source.height == height && held.width == wanted.width && held.begin == wanted.begin &&
      held.end == wanted.end) {
    return source;
  }
  ScoreRows rows{height, wanted.count(), source.classes, {}};
  auto resizer = std::make_shared<Resizer>(std::move(source), held, height, wanted);
  rows.read = [resizer](std::int64_t y, std::span<float> out) { resizer->read(y, out); };
  return rows;
}

ScoreRows mirrored(ScoreRows source) {
  ScoreRows rows = source;
  rows.read = [source = std::move(source)](std::int64_t y, std::span<float> out) {
    source.read(y, out);
    for (std::int64_t left = 0, right = source.width - 1; left < right; ++left, --right) {
      std::swap_ranges(out.begin() + left * source.classes, out.begin() + (left + 1) * source.classes,
                       out.begin() + right * source.classes);
    }
  };
  return rows;
}

ScoreRows mean_softmax(std::vector<ScoreRows> sources) {
  ScoreRows rows = sources.at(0);
  for (const ScoreRows& source : sources) {
    if (source.height != rows.height || source.width != rows.width || source.classes != rows.classes) {
      fail("only maps of the same size can be averaged");
    }
  }
  const auto classes = static_cast<std::size_t>(rows.classes);
  const float weight = 1.0F / static_cast<float>(sources.size());
  rows.read = [sources = std::move(sources), classes, weight, row = std::vector<float>(rows.row_values()),
               scratch = std::vector<float>(classes)](std::int64_t y, std::span<float> out) mutable {
    std::fill(out.begin(), out.end(), 0.0F);
    for (const ScoreRows& source : sources) {
      source.read(y, row);
      for (std::size_t at = 0; at < row.size(); at += classes) {
        add_softmax(std::span<const float>(row).subspan(at, classes), weight, out.subspan(at, classes),
                    scratch);
      }
    }
  };
  return rows;
}

image::Image best_classes(const ScoreRows& scores) {
  return best_classes([&] { return scores; }, {});
}

image::Image best_classes(const std::function<ScoreRows()>& make_scores, const ParallelFor& parallel) {
  constexpr std::int64_t kLeastRows = 16;
  const ScoreRows first = make_scores();
  if (first.classes > kMostClasses) {
    fail("label maps of 8 bits tell at most {} classes apart, not {}", kMostClasses, first.classes);
  }
  image::Image labels(static_cast<int>(first.width), static_cast<int>(first.height), 1);
  parallel(first.height, kLeastRows, [&](std::int64_t begin, std::int64_t end) {
    label_rows(make_scores(), {begin, end}, labels);
  });
  return labels;
}

}  // namespace spatialmamba::segmentation
