#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace spatialmamba::detection {

/// A rectangle in pixels, no +1 anywhere. Arrays of boxes are arrays of four floats.
struct Box {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;

  bool operator==(const Box&) const = default;
};
static_assert(sizeof(Box) == 4 * sizeof(float));

inline std::span<const float> coordinates(std::span<const Box> boxes) {
  return {boxes.empty() ? nullptr : &boxes.front().x1, 4 * boxes.size()};
}

/// The part of a padded picture that shows something.
struct Extent {
  std::int64_t height = 0;
  std::int64_t width = 0;
};

Box clipped(const Box& box, const Extent& extent);

/// Intersection over union, or over the first box's own area; never divided by less than 1e-6.
float iou(const Box& a, const Box& b);
float overlap_of_first(const Box& a, const Box& b);

/// Centre and size of a box as differences to another one ("prior"), in units of its size:
///   dx = (gx - px) / pw, dw = log(gw / pw), each divided by its deviation.
struct BoxCoder {
  std::array<float, 4> deviations = {1, 1, 1, 1};

  std::array<float, 4> encode(const Box& prior, const Box& box) const;
  /// dw and dh are held within +-log(1000 / 16).
  Box decode(const Box& prior, std::span<const float, 4> deltas) const;
};

/// Boxes of three shapes around every cell of a map, as mmdetection's AnchorGenerator places them.
struct AnchorGenerator {
  float scale = 8;
  std::vector<float> ratios = {0.5F, 1.0F, 2.0F};  ///< height / width

  /// Around the origin.
  std::vector<Box> shapes(std::int64_t stride) const;
  /// Ordered by row, column, shape; cell (y, x) has its centre at (x · stride, y · stride).
  std::vector<Box> grid(std::int64_t stride, std::int64_t height, std::int64_t width) const;
  /// Which of those lie on a cell that an image of this (padded) extent reaches: batches are padded further.
  std::vector<std::uint8_t> reached(std::int64_t stride, std::int64_t height, std::int64_t width,
                                    const Extent& image) const;
};

/// The pyramid level that a box is pooled from: 0 for those of up to 112 pixels (twice finest_scale), one
/// more for each doubling.
std::int64_t pyramid_level(const Box& box, std::int64_t levels, float finest_scale = 56.0F);

}  // namespace spatialmamba::detection
