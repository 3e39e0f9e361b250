#pragma once

#include <cstdint>
#include <opencv2/core/mat.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "image/image.h"

namespace spatialmamba::draw {

struct Color {
  std::uint8_t r = 0;
  std::uint8_t g = 0;
  std::uint8_t b = 0;
};

inline constexpr Color kPaper{255, 255, 255};
inline constexpr Color kInk{31, 41, 51};
inline constexpr Color kMuted{107, 119, 133};
inline constexpr Color kRule{226, 230, 235};
inline constexpr Color kBlue{37, 99, 235};
inline constexpr Color kGreen{22, 140, 70};
inline constexpr Color kRed{208, 36, 36};

/// Series of a chart, in order; distinct for colour-blind readers too.
Color series_color(std::size_t index);

struct Point {
  double x = 0.0;
  double y = 0.0;
};

enum class Align { left, centre, right };

struct TextStyle {
  double size = 13.0;  ///< pixels from ascender to descender
  Color color = kInk;
  Align align = Align::left;
  bool bold = false;
};

/// A white sheet to draw on, in pixels from the top left corner. It is kept several times larger and reduced
/// at the end, so that text and lines of any width come out smooth.
class Canvas {
 public:
  /// Throws Error for a size that is no picture's.
  Canvas(int width, int height);

  int width() const { return width_; }
  int height() const { return height_; }

  void fill(double x, double y, double w, double h, Color color);
  void frame(double x, double y, double w, double h, Color color, double thickness = 1.0);
  void line(Point from, Point to, Color color, double thickness = 1.0);
  void polyline(const std::vector<Point>& points, Color color, double thickness = 1.0);
  void disc(Point centre, double radius, Color color);
  /// `at` is where the baseline begins, ends, or has its middle, as the style aligns. Letters outside ASCII
  /// become '?': the vector font has no others.
  void text(Point at, std::string_view text, const TextStyle& style);
  /// Reads upwards; `at` is the same point of the baseline.
  void text_upwards(Point at, std::string_view text, const TextStyle& style);
  /// The picture, grey or colour, stretched over the rectangle: smoothly, or in crisp squares.
  void paste(const image::Image& picture, double x, double y, double w, double h, bool smooth);

  image::Image finish() const;

 private:
  int width_;
  int height_;
  cv::Mat sheet_;  // RGB, kScale times as large
};

double text_width(std::string_view text, const TextStyle& style);
/// The text, or as much of its beginning as fits into `width` with "..." behind it.
std::string shortened(std::string_view text, const TextStyle& style, double width);

}  // namespace spatialmamba::draw
