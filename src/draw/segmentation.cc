#include "draw/segmentation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "draw/canvas.h"
#include "draw/reduce.h"

namespace spatialmamba::draw {
namespace {

constexpr image::Rgb kUnknown = {128, 128, 128};
constexpr std::size_t kMostEntries = 24;  // of a legend; smaller areas are left out
constexpr double kRow = 20.0;             // height of a legend's row
constexpr double kMargin = 10.0;
constexpr double kSwatch = 13.0;
constexpr double kEntryWidth = 200.0;
constexpr int kSmallestShown = 256;  // the legend would dwarf smaller ones

/// Pixels of the classes that a map holds, the largest first.
std::vector<std::pair<std::size_t, std::int64_t>> areas_of(const std::vector<const image::Image*>& maps,
                                                           std::size_t classes) {
  std::vector<std::int64_t> pixels(classes);
  for (const image::Image* map : maps) {
    for (const std::uint8_t label : map->pixels) {
      if (label < classes) ++pixels[label];
    }
  }
  std::vector<std::pair<std::size_t, std::int64_t>> areas;
  for (std::size_t i = 0; i < classes; ++i) {
    if (pixels[i] > 0) areas.emplace_back(i, pixels[i]);
  }
  std::stable_sort(areas.begin(), areas.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  if (areas.size() > kMostEntries) areas.resize(kMostEntries);
  return areas;
}

const image::Rgb& color_of(std::size_t label, const LabelStyle& style) {
  return label < style.palette.size() ? style.palette[label] : kUnknown;
}

void require_same_size(const image::Image& picture, const image::Image& labels) {
  if (picture.width != labels.width || picture.height != labels.height) {
    fail("a label map of {} x {} pixels does not fit a picture of {} x {}", labels.width, labels.height,
         picture.width, picture.height);
  }
}

/// Half picture, half colours; see averaged().
image::Image blended(const image::Image& picture, const image::Image& labels, const LabelStyle& style,
                     int step) {
  require_same_size(picture, labels);
  return averaged(picture.width, picture.height, step, [&](int x, int y) {
    std::array<std::uint8_t, 3> color = color_at(picture, x, y);
    const image::Rgb& own = color_of(labels.row(y)[x], style);
    for (std::size_t c = 0; c < 3; ++c) color[c] = static_cast<std::uint8_t>((color[c] + own[c] + 1) / 2);
    return color;
  });
}

struct Legend {
  std::vector<std::pair<std::size_t, std::int64_t>> areas;
  double total = 0.0;  ///< pixels
  int columns = 1;

  double height() const {
    return kRow * std::ceil(static_cast<double>(areas.size()) / columns) + 2.0 * kMargin;
  }
};

Legend legend_for(const std::vector<const image::Image*>& maps, const LabelStyle& style, double width) {
  Legend legend{.areas = areas_of(maps, style.names.size())};
  for (const image::Image* map : maps) legend.total += static_cast<double>(map->pixels.size());
  legend.columns = std::max(1, static_cast<int>((width - 2.0 * kMargin) / kEntryWidth));
  return legend;
}

void draw_legend(Canvas& canvas, const Legend& legend, const LabelStyle& style, double top) {
  for (std::size_t i = 0; i < legend.areas.size(); ++i) {
    const auto& [label, pixels] = legend.areas[i];
    const auto column = static_cast<double>(i % static_cast<std::size_t>(legend.columns));
    const auto row = static_cast<double>(i / static_cast<std::size_t>(legend.columns));
    const double x = kMargin + column * kEntryWidth;
    const double y = top + kMargin + row * kRow;
    const auto& color = style.palette[label];
    canvas.fill(x, y, kSwatch, kSwatch, {color[0], color[1], color[2]});
    canvas.frame(x, y, kSwatch, kSwatch, kMuted);
    const std::string share = fmt::format("{:.1f} %", 100.0 * static_cast<double>(pixels) / legend.total);
    const TextStyle text{.size = 12.0};
    const double room = kEntryWidth - kSwatch - 16.0 - text_width(share, text);
    canvas.text({x + kSwatch + 6.0, y + kSwatch - 2.0},
                fmt::format("{} {}", shortened(style.names[label], text, room), share), text);
  }
}

}  // namespace

image::Image draw_overlay(const image::Image& picture, const image::Image& labels, const LabelStyle& style,
                          const std::string& note) {
  const double zoom = zoom_of(picture, kSmallestShown);
  const double width = std::max(picture.width * zoom, kEntryWidth + 2.0 * kMargin);
  const double height = picture.height * zoom;
  const Legend legend = legend_for({&labels}, style, width);
  const double note_height = note.empty() ? 0.0 : kRow;
  Canvas canvas(static_cast<int>(width), static_cast<int>(height + legend.height() + note_height));
  canvas.paste(blended(picture, labels, style, step_of(picture)), 0.0, 0.0, picture.width * zoom, height,
               zoom < 1.0);
  draw_legend(canvas, legend, style, height);
  if (!note.empty()) {
    canvas.text({kMargin, height + legend.height() + kRow - 8.0}, note, {.size = 12.0, .color = kRed});
  }
  return canvas.finish();
}

image::Image draw_comparison(const image::Image& picture, const image::Image& predicted,
                             const image::Image& truth, const LabelStyle& style, const std::string& title) {
  const double zoom = zoom_of(picture, kSmallestShown);
  const double one = picture.width * zoom;
  const double height = picture.height * zoom;
  const double width = 3.0 * one + 4.0 * kMargin;
  const double top = 2.0 * kRow + kMargin;
  const Legend legend = legend_for({&predicted, &truth}, style, width);
  Canvas canvas(static_cast<int>(width), static_cast<int>(top + height + legend.height()));
  canvas.text({kMargin, kRow}, title, {.size = 15.0, .bold = true});
  const std::array<std::pair<const char*, image::Image>, 3> parts = {
      {{"picture", image::with_channels(picture, 3)},
       {"prediction", blended(picture, predicted, style, step_of(picture))},
       {"truth", blended(picture, truth, style, step_of(picture))}}};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const double x = kMargin + static_cast<double>(i) * (one + kMargin);
    canvas.text({x, top - 6.0}, parts[i].first, {.size = 12.0, .color = kMuted});
    canvas.paste(parts[i].second, x, top, one, height, zoom < 1.0);
  }
  draw_legend(canvas, legend, style, top + height);
  return canvas.finish();
}

}  // namespace spatialmamba::draw
