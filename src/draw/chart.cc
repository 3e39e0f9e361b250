#include "draw/chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "draw/canvas.h"

namespace spatialmamba::draw {
namespace {

constexpr int kPanelWidth = 520;
constexpr int kPanelHeight = 340;
constexpr int kTitleHeight = 44;
constexpr double kLeft = 66;  // room for the y labels
constexpr double kRight = 20;
constexpr double kTop = 60;     // room for the chart's title and legend
constexpr double kBottom = 46;  // room for the x labels
constexpr int kTicks = 5;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  bool empty() const { return low > high; }
  void include(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

struct Axis {
  Range range;
  double step = 1.0;
};

bool finite(const Series& series, std::size_t i) {
  return std::isfinite(series.x[i]) && std::isfinite(series.y[i]);
}

/// The largest of 1, 2, 5 times a power of ten that gives at least `ticks` - 1 intervals or so.
double round_step(double span, int ticks) {
  const double rough = span / ticks;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double share = rough / power;
  return power * (share < 1.5 ? 1.0 : share < 3.5 ? 2.0 : share < 7.5 ? 5.0 : 10.0);
}

/// Widens the range to whole steps.
Axis value_axis(Range range) {
  if (range.high - range.low < 1e-12 * std::max(1.0, std::abs(range.high))) {
    const double margin = range.high == 0.0 ? 1.0 : 0.1 * std::abs(range.high);
    range = {range.low - margin, range.high + margin};
  }
  const double step = round_step(range.high - range.low, kTicks);
  return {{std::floor(range.low / step + 1e-9) * step, std::ceil(range.high / step - 1e-9) * step}, step};
}

/// Epochs and updates are whole numbers and start where they start.
Axis count_axis(Range range) {
  if (range.high <= range.low) range = {range.low - 1.0, range.high + 1.0};
  return {range, std::max(1.0, round_step(range.high - range.low, kTicks + 2))};
}

std::string tick_label(double value, double step, bool percent) {
  if (percent) return fmt::format("{:.{}f} %", 100.0 * value, step < 0.0099 ? 1 : 0);
  if (value == 0.0 || std::abs(value) < step * 1e-6) return "0";
  if (std::abs(value) >= 1e5 || step < 1e-3) return fmt::format("{:.2g}", value);
  const int digits = std::max(0, static_cast<int>(-std::floor(std::log10(step) + 1e-9)));
  return fmt::format("{:.{}f}", value, digits);
}

/// One chart, placed with its corner at (x0, y0).
class Panel {
 public:
  Panel(Canvas& canvas, const Chart& chart, double x0, double y0)
      : canvas_(canvas),
        chart_(chart),
        left_(x0 + kLeft),
        right_(x0 + kPanelWidth - kRight),
        top_(y0 + kTop),
        bottom_(y0 + kPanelHeight - kBottom) {}

  void draw() {
    canvas_.text({left_, top_ - 36}, chart_.title, {.size = 15, .bold = true});
    if (!fit_axes()) {
      canvas_.frame(left_, top_, right_ - left_, bottom_ - top_, kRule);
      canvas_.text({(left_ + right_) / 2, (top_ + bottom_) / 2}, "no data",
                   {.size = 14, .color = kMuted, .align = Align::centre});
      return;
    }
    draw_grid();
    draw_legend();
    for (std::size_t i = 0; i < chart_.series.size(); ++i) draw_series(chart_.series[i], series_color(i));
  }

 private:
  bool fit_axes() {
    Range x;
    Range y;
    for (const Series& series : chart_.series) {
      if (series.x.size() != series.y.size()) {
        fail("chart '{}': series '{}' has {} x and {} y values", chart_.title, series.name, series.x.size(),
             series.y.size());
      }
      for (std::size_t i = 0; i < series.x.size(); ++i) {
        if (!finite(series, i)) continue;
        x.include(series.x[i]);
        y.include(series.y[i]);
      }
    }
    if (x.empty()) return false;
    x_ = count_axis(x);
    y_ = value_axis(y);
    return true;
  }

  Point place(double x, double y) const {
    return {left_ + (x - x_.range.low) / (x_.range.high - x_.range.low) * (right_ - left_),
            bottom_ - (y - y_.range.low) / (y_.range.high - y_.range.low) * (bottom_ - top_)};
  }

  void draw_grid() {
    const TextStyle label{.size = 12, .color = kMuted};
    for (double y = y_.range.low; y < y_.range.high + y_.step / 2; y += y_.step) {
      const double row = place(x_.range.low, y).y;
      canvas_.line({left_, row}, {right_, row}, kRule);
      TextStyle style = label;
      style.align = Align::right;
      canvas_.text({left_ - 9, row + 4}, tick_label(y, y_.step, chart_.percent), style);
    }
    const double first = std::ceil(x_.range.low / x_.step - 1e-9) * x_.step;
    for (double x = first; x < x_.range.high + x_.step * 1e-6; x += x_.step) {
      const double column = place(x, y_.range.low).x;
      canvas_.line({column, bottom_}, {column, bottom_ + 4}, kMuted);
      TextStyle style = label;
      style.align = Align::centre;
      canvas_.text({column, bottom_ + 18}, tick_label(x, x_.step, false), style);
    }
    canvas_.line({left_, bottom_}, {right_, bottom_}, kMuted);
    canvas_.text({(left_ + right_) / 2, bottom_ + 38}, chart_.x_label,
                 {.size = 12, .color = kMuted, .align = Align::centre});
  }

  void draw_legend() {
    double x = left_;
    const double y = top_ - 14;
    for (std::size_t i = 0; i < chart_.series.size(); ++i) {
      const TextStyle style{.size = 12, .color = kInk};
      canvas_.line({x, y - 4}, {x + 18, y - 4}, series_color(i), 2.4);
      canvas_.text({x + 24, y}, chart_.series[i].name, style);
      x += 24 + text_width(chart_.series[i].name, style) + 20;
    }
  }

  void draw_series(const Series& series, Color color) {
    constexpr std::size_t kFewPoints = 40;
    std::vector<Point> run;
    for (std::size_t i = 0; i <= series.x.size(); ++i) {
      if (i < series.x.size() && finite(series, i)) {
        run.push_back(place(series.x[i], series.y[i]));
        continue;
      }
      canvas_.polyline(run, color, 2.0);
      if (run.size() == 1 || series.x.size() <= kFewPoints) {
        for (const Point& point : run) canvas_.disc(point, 3.0, color);
      }
      run.clear();
    }
  }

  Canvas& canvas_;
  const Chart& chart_;
  double left_;
  double right_;
  double top_;
  double bottom_;
  Axis x_;
  Axis y_;
};

}  // namespace

image::Image draw_charts(const std::vector<Chart>& charts, const std::string& title, int columns) {
  if (charts.empty() || columns < 1) fail("nothing to draw: {} charts in {} columns", charts.size(), columns);
  const int count = static_cast<int>(charts.size());
  columns = std::min(columns, count);
  const int rows = (count + columns - 1) / columns;
  Canvas canvas(columns * kPanelWidth, kTitleHeight + rows * kPanelHeight);
  canvas.text({kLeft, 34}, title, {.size = 19, .bold = true});
  for (int i = 0; i < count; ++i) {
    Panel(canvas, charts[static_cast<std::size_t>(i)], (i % columns) * kPanelWidth,
          kTitleHeight + (i / columns) * kPanelHeight)
        .draw();
  }
  return canvas.finish();
}

}  // namespace spatialmamba::draw
