// Polygons to masks, by COCO's rule: see rle.h.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <optional>
#include <utility>
#include <vector>

#include "base/error.h"
#include "image/rle.h"

namespace spatialmamba::image {
namespace {

constexpr double kFineness = 5.0;  ///< grid lines per pixel
/// On the fine grid; what lies further out is far outside every picture.
constexpr double kFarthest = 1 << 24;

struct GridPoint {
  std::int64_t x = 0;
  std::int64_t y = 0;
};

/// Rounds half towards positive infinity and what is negative towards zero, as a conversion to an integer
/// does.
std::int64_t to_grid(double value) {
  return static_cast<std::int64_t>(value + 0.5);
}

std::vector<GridPoint> corners_of(std::span<const double> points) {
  std::vector<GridPoint> corners(points.size() / 2);
  for (std::size_t i = 0; i < corners.size(); ++i) {
    const double x = kFineness * points[2 * i];
    const double y = kFineness * points[2 * i + 1];
    if (!(std::abs(x) <= kFarthest && std::abs(y) <= kFarthest)) {
      fail("point {} of a polygon is at ({}, {})", i, points[2 * i], points[2 * i + 1]);
    }
    corners[i] = {to_grid(x), to_grid(y)};
  }
  return corners;
}

/// Collects the positions (down the columns) at which an outline crosses the middle of a column of pixels.
class Crossings {
 public:
  Crossings(std::uint32_t height, std::uint32_t width) : height_(height), width_(width) {}

  /// Visits every grid point of a side, both ends included. A side is followed in the direction in which its
  /// longer coordinate grows, whichever end comes first.
  void follow(GridPoint from, GridPoint to) {
    const std::int64_t dx = std::abs(to.x - from.x);
    const std::int64_t dy = std::abs(to.y - from.y);
    const bool flat = dx >= dy;
    const bool backwards = flat ? from.x > to.x : from.y > to.y;
    if (backwards) std::swap(from, to);
    const std::int64_t steps = std::max(dx, dy);
    const auto rise = static_cast<double>(flat ? to.y - from.y : to.x - from.x);
    const double slope = steps == 0 ? 0.0 : rise / static_cast<double>(steps);
    for (std::int64_t i = 0; i <= steps; ++i) {
      const std::int64_t t = backwards ? steps - i : i;
      const double moved = slope * static_cast<double>(t);
      visit(flat ? GridPoint{from.x + t, to_grid(static_cast<double>(from.y) + moved)}
                 : GridPoint{to_grid(static_cast<double>(from.x) + moved), from.y + t});
    }
  }

  const std::vector<std::uint32_t>& positions() const { return positions_; }

 private:
  void visit(GridPoint here) {
    const std::optional<GridPoint> before = std::exchange(last_, here);
    if (!before || here.x == before->x) return;
    const auto fine_x = static_cast<double>(here.x < before->x ? here.x : here.x - 1);
    const double x = (fine_x + 0.5) / kFineness - 0.5;
    if (std::floor(x) != x || x < 0 || x > static_cast<double>(width_) - 1) return;
    const double y = (static_cast<double>(std::min(here.y, before->y)) + 0.5) / kFineness - 0.5;
    const double row = std::ceil(std::clamp(y, 0.0, static_cast<double>(height_)));
    positions_.push_back(static_cast<std::uint32_t>(x) * height_ + static_cast<std::uint32_t>(row));
  }

  std::uint32_t height_;
  std::uint32_t width_;
  std::optional<GridPoint> last_;
  std::vector<std::uint32_t> positions_;
};

/// Every crossing turns zeros into ones or back. Two at one place cancel out, which joins the runs around
/// them.
std::vector<std::uint32_t> runs_between(std::vector<std::uint32_t> positions, std::uint32_t end) {
  positions.push_back(end);
  std::ranges::sort(positions);
  std::vector<std::uint32_t> lengths(positions.size());
  std::uint32_t last = 0;
  for (std::size_t i = 0; i < positions.size(); ++i) {
    lengths[i] = positions[i] - last;
    last = positions[i];
  }
  std::vector<std::uint32_t> runs{lengths[0]};
  for (std::size_t i = 1; i < lengths.size(); ++i) {
    if (lengths[i] > 0) {
      runs.push_back(lengths[i]);
    } else if (++i < lengths.size()) {
      runs.back() += lengths[i];
    }
  }
  return runs;
}

}  // namespace

Rle rasterize_polygon(std::span<const double> points, std::uint32_t height, std::uint32_t width) {
  if (std::uint64_t{height} * width > std::numeric_limits<std::uint32_t>::max()) {
    fail("a mask of {}x{} is too large", height, width);
  }
  const std::vector<GridPoint> corners = corners_of(points);
  Crossings crossings(height, width);
  for (std::size_t i = 0; i < corners.size(); ++i) {
    crossings.follow(corners[i], corners[(i + 1) % corners.size()]);
  }
  return {height, width, runs_between(crossings.positions(), height * width)};
}

Rle rasterize_box(const XywhBox& box, std::uint32_t height, std::uint32_t width) {
  const double right = box.x + box.w;
  const double bottom = box.y + box.h;
  const std::array<double, 8> corners = {box.x, box.y, box.x, bottom, right, bottom, right, box.y};
  return rasterize_polygon(corners, height, width);
}

}  // namespace spatialmamba::image
