#include "image/resize.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <numbers>
#include <utility>

#include "base/error.h"
#include "image/resize_passes.h"

namespace spatialmamba::image {
namespace {

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

double bicubic(double x) {
  constexpr double kA = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((kA + 2.0) * x - (kA + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * kA;
  return 0.0;
}

double sinc(double x) {
  if (x == 0.0) return 1.0;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

double lanczos(double x) {
  return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3) : 0.0;
}

struct FilterEntry {
  Filter filter;
  std::string_view name;
  double support;  ///< half width in input pixels at scale 1
  double (*value)(double);
};

constexpr std::array<FilterEntry, 3> kFilters = {{
    {Filter::bilinear, "bilinear", 1.0, bilinear},
    {Filter::bicubic, "bicubic", 2.0, bicubic},
    {Filter::lanczos, "lanczos", 3.0, lanczos},
}};

const FilterEntry& entry_of(Filter filter) {
  return *std::find_if(kFilters.begin(), kFilters.end(),
                       [&](const FilterEntry& e) { return e.filter == filter; });
}

/// One axis of a resize: `count` of the out_size positions, from `first` on.
struct Axis {
  int in_size;
  int out_size;
  int first;
  int count;

  bool is_copy() const { return in_size == out_size; }
};

/// Pillow's precompute_coeffs and normalize_coeffs_8bpc, in the same order of operations.
Taps make_taps(const Axis& axis, const FilterEntry& filter) {
  const double scale = static_cast<double>(axis.in_size) / axis.out_size;
  const double filter_scale = std::max(scale, 1.0);
  const double support = filter.support * filter_scale;
  const double inverse = 1.0 / filter_scale;
  Taps taps;
  taps.positions.reserve(static_cast<std::size_t>(axis.count));
  std::vector<double> values;
  for (int i = axis.first; i < axis.first + axis.count; ++i) {
    const double centre = (i + 0.5) * scale;
    const int first = std::max(0, static_cast<int>(centre - support + 0.5));
    const int count = std::min(axis.in_size, static_cast<int>(centre + support + 0.5)) - first;
    values.clear();
    double sum = 0.0;
    for (int k = 0; k < count; ++k) {
      values.push_back(filter.value((k + first - centre + 0.5) * inverse));
      sum += values.back();
    }
    taps.positions.push_back({first, count, taps.weights.size()});
    for (double value : values) {
      if (sum != 0.0) value /= sum;
      const double fixed = value * (1 << Taps::kPrecisionBits);
      taps.weights.push_back(static_cast<std::int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5));
    }
  }
  return taps;
}

Taps copying_taps(const Axis& axis) {
  Taps taps;
  for (int i = 0; i < axis.count; ++i) taps.positions.push_back({axis.first + i, 1, 0});
  taps.weights.push_back(1 << Taps::kPrecisionBits);
  return taps;
}

PixelView view_of(const Image& picture, const Rect& box) {
  return {picture.row(box.top) + static_cast<std::ptrdiff_t>(box.left) * picture.channels,
          picture.row_bytes(), box.width, box.height, picture.channels};
}

}  // namespace

std::string_view name_of(Filter filter) {
  return entry_of(filter).name;
}

Filter filter_from_name(std::string_view name) {
  std::string known;
  for (const FilterEntry& entry : kFilters) {
    if (entry.name == name) return entry.filter;
    known += (known.empty() ? "" : ", ") + std::string(entry.name);
  }
  fail_usage("unknown interpolation '{}', expected one of: {}", name, known);
}

Image resize_part(const Image& picture, const Rect& box, int width, int height, const Rect& part,
                  Filter filter) {
  require_inside(picture, box);
  if (width < 1 || height < 1) fail("cannot resize a picture to {} x {}", width, height);
  require_inside(width, height, part);
  const FilterEntry& entry = entry_of(filter);
  const Axis columns{.in_size = box.width, .out_size = width, .first = part.left, .count = part.width};
  const Axis rows{.in_size = box.height, .out_size = height, .first = part.top, .count = part.height};

  // Only the input rows that the vertical pass reads go through the horizontal one.
  Taps vertical = rows.is_copy() ? copying_taps(rows) : make_taps(rows, entry);
  const int first_row = vertical.positions.front().first;
  const int last_row = vertical.positions.back().first + vertical.positions.back().count;
  for (Taps::Position& position : vertical.positions) position.first -= first_row;

  PixelView source = view_of(picture, box);
  source.data += source.stride * static_cast<std::size_t>(first_row);
  source.height = last_row - first_row;
  Image narrowed(part.width, source.height, picture.channels);
  resize_rows(source, columns.is_copy() ? copying_taps(columns) : make_taps(columns, entry),
              narrowed.pixels.data());
  if (rows.is_copy()) return narrowed;
  Image out(part.width, part.height, picture.channels);
  resize_columns(view_of(narrowed, bounds(narrowed)), vertical, out.pixels.data());
  return out;
}

Image resize(const Image& picture, const Rect& box, int width, int height, Filter filter) {
  return resize_part(picture, box, width, height, {.left = 0, .top = 0, .width = width, .height = height},
                     filter);
}

}  // namespace spatialmamba::image
