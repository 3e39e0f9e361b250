#include "draw/heat_maps.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "draw/canvas.h"
#include "draw/color_map.h"

namespace spatialmamba::draw {
namespace {

constexpr double kSide = 200;
constexpr double kGap = 18;
constexpr double kMargin = 24;
constexpr double kHeader = 70;
constexpr double kRowTitle = 44;  // the row's title and the maps' titles
constexpr double kFooter = 24;    // the values' range

struct Extent {
  float low = 0.0F;
  float high = 0.0F;
};

Extent extent_of(const HeatMap& map) {
  Extent extent{INFINITY, -INFINITY};
  for (const float value : map.values) {
    if (!std::isfinite(value)) continue;
    extent.low = std::min(extent.low, value);
    extent.high = std::max(extent.high, value);
  }
  return extent.low > extent.high ? Extent{} : extent;
}

double share_of(float value, const Extent& extent) {
  if (!std::isfinite(value)) return NAN;
  return extent.high > extent.low ? double(value - extent.low) / double(extent.high - extent.low) : 0.5;
}

image::Image colored(const HeatMap& map, const Extent& extent) {
  image::Image picture(static_cast<int>(map.width), static_cast<int>(map.height), 3);
  for (std::size_t i = 0; i < map.values.size(); ++i) {
    const Color color = color_of(share_of(map.values[i], extent), ColorMap::viridis);
    picture.pixels[3 * i] = color.r;
    picture.pixels[3 * i + 1] = color.g;
    picture.pixels[3 * i + 2] = color.b;
  }
  return picture;
}

struct Box {
  double x, y, w, h;
};

/// The largest rectangle of that shape in the square at (x, y).
Box fitted(double width, double height, double x, double y) {
  const double scale = kSide / std::max(width, height);
  return {x + (kSide - width * scale) / 2, y, width * scale, height * scale};
}

void write_values(Canvas& canvas, const HeatMap& map, const Extent& extent, const Box& box) {
  const double cell = box.w / double(map.width);
  for (std::size_t i = 0; i < map.values.size(); ++i) {
    const auto column = static_cast<double>(static_cast<std::int64_t>(i) % map.width);
    const auto row = static_cast<double>(static_cast<std::int64_t>(i) / map.width);
    const Color background = color_of(share_of(map.values[i], extent), ColorMap::viridis);
    const TextStyle style{
        .size = std::min(13.0, cell * 0.28), .color = readable_on(background), .align = Align::centre};
    canvas.text({box.x + cell * (column + 0.5), box.y + cell * (row + 0.5) + style.size * 0.35},
                fmt::format("{:.3g}", map.values[i]), style);
  }
}

void draw_map(Canvas& canvas, const HeatMap& map, double x, double y) {
  if (map.height < 1 || map.width < 1 || std::ssize(map.values) != map.height * map.width) {
    fail("map '{}' of {} x {} has {} values", map.title, map.height, map.width, map.values.size());
  }
  const TextStyle caption{.size = 12, .color = kMuted, .align = Align::centre};
  canvas.text({x + kSide / 2, y - 8}, shortened(map.title, caption, kSide), caption);
  const Extent extent = extent_of(map);
  const Box box = fitted(double(map.width), double(map.height), x, y);
  canvas.paste(colored(map, extent), box.x, box.y, box.w, box.h, false);
  if (map.write_values) {
    write_values(canvas, map, extent, box);
    return;
  }
  canvas.text({x + kSide / 2, box.y + box.h + 16}, fmt::format("{:.3g} to {:.3g}", extent.low, extent.high),
              caption);
}

}  // namespace

image::Image draw_heat_maps(const std::vector<HeatMapRow>& rows, const std::string& title,
                            const std::string& subtitle, const image::Image& picture) {
  std::size_t most = 0;
  for (const HeatMapRow& row : rows) most = std::max(most, row.maps.size());
  if (most == 0) fail("nothing to draw: no maps");
  const bool with_picture = picture.width > 0;
  const double columns = double(most) + (with_picture ? 1.0 : 0.0);
  const double row_height = kRowTitle + kSide + kFooter + 10;
  const TextStyle heading{.size = 18, .bold = true};
  const TextStyle small{.size = 12.5, .color = kMuted};
  const double width =
      std::max({columns * (kSide + kGap) - kGap, text_width(title, heading), text_width(subtitle, small)});
  Canvas canvas(static_cast<int>(2 * kMargin + width),
                static_cast<int>(kHeader + row_height * double(rows.size())));
  canvas.text({kMargin, 34}, title, heading);
  canvas.text({kMargin, 56}, subtitle, small);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const double top = kHeader + row_height * double(r);
    canvas.text({kMargin, top + 16}, rows[r].title, {.size = 14, .bold = true});
    double x = kMargin;
    if (with_picture) {
      const Box box = fitted(picture.width, picture.height, x, top + kRowTitle);
      canvas.paste(picture, box.x, box.y, box.w, box.h, std::max(picture.width, picture.height) >= kSide / 2);
      canvas.text({x + kSide / 2, top + kRowTitle - 8}, "image",
                  {.size = 12, .color = kMuted, .align = Align::centre});
      x += kSide + kGap;
    }
    for (const HeatMap& map : rows[r].maps) {
      draw_map(canvas, map, x, top + kRowTitle);
      x += kSide + kGap;
    }
  }
  return canvas.finish();
}

}  // namespace spatialmamba::draw
