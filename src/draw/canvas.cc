#include "draw/canvas.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <opencv2/imgproc.hpp>

#include "base/error.h"

namespace spatialmamba::draw {
namespace {

constexpr int kScale = 3;           // the sheet's pixels per pixel
constexpr int kLargestSide = 8192;  // of a finished picture
constexpr int kShift = 4;           // fractional bits that OpenCV's line drawing takes
constexpr int kFont = cv::FONT_HERSHEY_SIMPLEX;
constexpr double kCapitalHeight = 21.0;  // of that font at scale 1
constexpr double kCapitalShare = 0.72;   // of a text's size

cv::Scalar scalar(Color color) {
  return {double(color.r), double(color.g), double(color.b)};
}

int on_sheet(double value) {
  return static_cast<int>(std::lround(value * kScale));
}

cv::Point fixed_point(Point point) {
  const double unit = kScale * (1 << kShift);
  return {static_cast<int>(std::lround(point.x * unit)), static_cast<int>(std::lround(point.y * unit))};
}

double font_scale(const TextStyle& style) {
  return kCapitalShare * style.size * kScale / kCapitalHeight;
}

int stroke(const TextStyle& style) {
  return std::max(1, static_cast<int>(std::lround(style.size * kScale * (style.bold ? 0.115 : 0.075))));
}

std::string ascii(std::string_view text) {
  std::string plain;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte & 0xC0U) == 0x80U) continue;  // inside a UTF-8 sequence
    plain += byte < 0x20 || byte >= 0x7F ? '?' : c;
  }
  return plain;
}

double aligned(double x, double width, Align align) {
  if (align == Align::left) return x;
  return align == Align::right ? x - width : x - width / 2.0;
}

void put_text(cv::Mat& sheet, cv::Point at, const std::string& text, const TextStyle& style) {
  cv::putText(sheet, text, at, kFont, font_scale(style), scalar(style.color), stroke(style), cv::LINE_AA);
}

}  // namespace

Color series_color(std::size_t index) {
  static constexpr std::array<Color, 6> kColors = {
      {{37, 99, 235}, {234, 88, 12}, {13, 148, 136}, {190, 24, 93}, {124, 58, 237}, {101, 116, 13}}};
  return kColors[index % kColors.size()];
}

Canvas::Canvas(int width, int height) : width_(width), height_(height) {
  if (width < 1 || height < 1 || width > kLargestSide || height > kLargestSide) {
    fail("a picture of {} x {} pixels cannot be drawn; each side may have 1 to {}", width, height,
         kLargestSide);
  }
  sheet_ = cv::Mat(height * kScale, width * kScale, CV_8UC3, scalar(kPaper));
}

void Canvas::fill(double x, double y, double w, double h, Color color) {
  const cv::Rect area(cv::Point(on_sheet(x), on_sheet(y)), cv::Point(on_sheet(x + w), on_sheet(y + h)));
  if (!area.empty()) cv::rectangle(sheet_, area, scalar(color), cv::FILLED);
}

void Canvas::frame(double x, double y, double w, double h, Color color, double thickness) {
  fill(x, y, w, thickness, color);
  fill(x, y + h - thickness, w, thickness, color);
  fill(x, y, thickness, h, color);
  fill(x + w - thickness, y, thickness, h, color);
}

void Canvas::line(Point from, Point to, Color color, double thickness) {
  cv::line(sheet_, fixed_point(from), fixed_point(to), scalar(color), std::max(1, on_sheet(thickness)),
           cv::LINE_AA, kShift);
}

void Canvas::polyline(const std::vector<Point>& points, Color color, double thickness) {
  for (std::size_t i = 1; i < points.size(); ++i) line(points[i - 1], points[i], color, thickness);
}

void Canvas::disc(Point centre, double radius, Color color) {
  const int fixed_radius = static_cast<int>(std::lround(radius * kScale * (1 << kShift)));
  cv::circle(sheet_, fixed_point(centre), fixed_radius, scalar(color), cv::FILLED, cv::LINE_AA, kShift);
}

void Canvas::text(Point at, std::string_view text, const TextStyle& style) {
  const std::string plain = ascii(text);
  const double x = aligned(at.x, text_width(plain, style), style.align);
  put_text(sheet_, {on_sheet(x), on_sheet(at.y)}, plain, style);
}

void Canvas::text_upwards(Point at, std::string_view text, const TextStyle& style) {
  const std::string plain = ascii(text);
  const double width = text_width(plain, style);
  const double below = style.size * 0.4;
  // The strip that the text covers, turned to lie, written on, and turned back.
  const double bottom = aligned(-at.y, width, style.align);
  const cv::Rect wanted(on_sheet(at.x - style.size), on_sheet(-bottom - width) - kScale,
                        on_sheet(style.size + below), on_sheet(width) + 2 * kScale);
  const cv::Rect area = wanted & cv::Rect(0, 0, sheet_.cols, sheet_.rows);
  if (area.empty()) return;
  cv::Mat lying;
  cv::rotate(sheet_(area), lying, cv::ROTATE_90_CLOCKWISE);
  const int start = area.br().y - on_sheet(-bottom);
  put_text(lying, {start, on_sheet(at.x) - area.x}, plain, style);
  cv::Mat standing;
  cv::rotate(lying, standing, cv::ROTATE_90_COUNTERCLOCKWISE);
  standing.copyTo(sheet_(area));
}

void Canvas::paste(const image::Image& picture, double x, double y, double w, double h, bool smooth) {
  const image::Image colored = image::with_channels(picture, 3);
  const cv::Mat source(colored.height, colored.width, CV_8UC3,
                       const_cast<std::uint8_t*>(colored.pixels.data()));
  const cv::Rect target(cv::Point(on_sheet(x), on_sheet(y)), cv::Point(on_sheet(x + w), on_sheet(y + h)));
  const cv::Rect visible = target & cv::Rect(0, 0, sheet_.cols, sheet_.rows);
  if (visible.empty()) return;
  const bool smaller = target.width < source.cols || target.height < source.rows;
  cv::Mat stretched;
  cv::resize(source, stretched, target.size(), 0, 0,
             smaller ? cv::INTER_AREA : (smooth ? cv::INTER_CUBIC : cv::INTER_NEAREST));
  stretched(visible - target.tl()).copyTo(sheet_(visible));
}

image::Image Canvas::finish() const {
  image::Image picture(width_, height_, 3);
  cv::Mat reduced(height_, width_, CV_8UC3, picture.pixels.data());
  cv::resize(sheet_, reduced, reduced.size(), 0, 0, cv::INTER_AREA);
  return picture;
}

double text_width(std::string_view text, const TextStyle& style) {
  int baseline = 0;
  return double(cv::getTextSize(ascii(text), kFont, font_scale(style), stroke(style), &baseline).width) /
         kScale;
}

std::string shortened(std::string_view text, const TextStyle& style, double width) {
  std::string plain = ascii(text);
  if (text_width(plain, style) <= width) return plain;
  while (!plain.empty() && text_width(plain + "...", style) > width) plain.pop_back();
  return plain + "...";
}

}  // namespace spatialmamba::draw
