#include "draw/confusion.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "draw/canvas.h"
#include "draw/color_map.h"

namespace spatialmamba::draw {
namespace {

constexpr std::int64_t kMostNamed = 40;
constexpr double kMargin = 24;
constexpr double kHeader = 66;
constexpr double kAxisTitle = 24;
constexpr double kMostLabel = 150;
constexpr double kScaleWidth = 86;  // the colour scale at the right

struct Layout {
  bool named = false;
  double cell = 0.0;
  double label = 0.0;  // room for the longest name
  double left = 0.0;
  double top = 0.0;
  double side = 0.0;  // of the whole matrix
};

const TextStyle kNameStyle{.size = 12.5};

Layout lay_out(std::int64_t classes, const std::vector<std::string>& names) {
  constexpr double kLargeCell = 50;
  constexpr double kRoomForCells = 1000;
  Layout layout;
  layout.named = classes <= kMostNamed;
  layout.cell = layout.named ? std::clamp(kRoomForCells / double(classes), 30.0, kLargeCell)
                             : std::max(1.0, std::floor(kRoomForCells / double(classes)));
  if (layout.named) {
    for (const std::string& name : names) layout.label = std::max(layout.label, text_width(name, kNameStyle));
    layout.label = std::min(layout.label, kMostLabel) + 12;
  }
  layout.left = kMargin + kAxisTitle + layout.label;
  layout.top = kHeader + kAxisTitle + layout.label;
  layout.side = layout.cell * double(classes);
  return layout;
}

double row_share(const metrics::ConfusionMatrix& matrix, std::int64_t row, std::int64_t column) {
  const std::int64_t samples = matrix.samples(row);
  return samples == 0 ? 0.0 : double(matrix.count(row, column)) / double(samples);
}

void draw_cells(Canvas& canvas, const metrics::ConfusionMatrix& matrix, const Layout& layout) {
  for (std::int64_t row = 0; row < matrix.classes(); ++row) {
    for (std::int64_t column = 0; column < matrix.classes(); ++column) {
      const double x = layout.left + layout.cell * double(column);
      const double y = layout.top + layout.cell * double(row);
      const Color color = color_of(row_share(matrix, row, column), ColorMap::blues);
      canvas.fill(x, y, layout.cell, layout.cell, color);
      if (!layout.named) continue;
      canvas.frame(x, y, layout.cell, layout.cell, kRule, 0.67);
      const std::int64_t count = matrix.count(row, column);
      TextStyle style{.size = std::min(12.5, layout.cell * 0.3),
                      .color = count == 0 ? kRule : readable_on(color),
                      .align = Align::centre};
      canvas.text({x + layout.cell / 2, y + layout.cell / 2 + style.size * 0.35}, std::to_string(count),
                  style);
    }
  }
}

void draw_names(Canvas& canvas, const std::vector<std::string>& names, const Layout& layout) {
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double middle = layout.cell * (double(i) + 0.5) + 4.5;
    TextStyle style = kNameStyle;
    canvas.text_upwards({layout.left + middle, layout.top - 8}, shortened(names[i], style, kMostLabel),
                        style);
    style.align = Align::right;
    canvas.text({layout.left - 8, layout.top + middle}, shortened(names[i], style, kMostLabel), style);
  }
}

void draw_scale(Canvas& canvas, double x, double y, double height) {
  constexpr int kSteps = 100;
  for (int i = 0; i < kSteps; ++i) {
    const double part = height / kSteps;
    canvas.fill(x, y + part * i, 14, part, color_of(1.0 - double(i) / kSteps, ColorMap::blues));
  }
  canvas.frame(x, y, 14, height, kRule, 0.67);
  for (const double share : {0.0, 0.5, 1.0}) {
    canvas.text({x + 20, y + height * (1.0 - share) + 4}, fmt::format("{:.0f} %", 100.0 * share),
                {.size = 11.5, .color = kMuted});
  }
}

}  // namespace

image::Image draw_confusion(const metrics::ConfusionMatrix& matrix, const std::vector<std::string>& names,
                            const std::string& title) {
  const std::int64_t classes = matrix.classes();
  if (std::ssize(names) != classes) fail("{} class names for {} classes", names.size(), classes);
  const Layout layout = lay_out(classes, names);
  const TextStyle small{.size = 12.5, .color = kMuted};
  const std::string facts = fmt::format("top-1 {:.2f} % of {} images; colour: share of the true class",
                                        100.0 * matrix.accuracy().value_or(0.0), matrix.total());
  const double width =
      std::max(layout.left + layout.side + 20 + kScaleWidth, text_width(facts, small) + 2 * kMargin);
  Canvas canvas(static_cast<int>(width), static_cast<int>(layout.top + layout.side + kMargin));
  const TextStyle heading{.size = 18, .bold = true};
  canvas.text({kMargin, 34}, shortened(title, heading, canvas.width() - 2 * kMargin), heading);
  canvas.text({kMargin, 56}, facts, small);
  const TextStyle axis{.size = 13, .color = kMuted, .align = Align::centre};
  canvas.text({layout.left + layout.side / 2, kHeader + 18}, "predicted", axis);
  canvas.text_upwards({kMargin + 12, layout.top + layout.side / 2}, "true", axis);
  draw_cells(canvas, matrix, layout);
  if (layout.named) draw_names(canvas, names, layout);
  canvas.frame(layout.left, layout.top, layout.side, layout.side, kMuted);
  draw_scale(canvas, layout.left + layout.side + 20, layout.top, std::min(layout.side, 200.0));
  return canvas.finish();
}

}  // namespace spatialmamba::draw
