#include "draw/detections.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <ranges>

#include "draw/canvas.h"
#include "draw/reduce.h"

namespace spatialmamba::draw {
namespace {

constexpr int kSmallestShown = 512;
constexpr double kNoteHeight = 20.0;
constexpr double kTextSize = 12.0;
constexpr double kTextMargin = 3.0;

/// Half of the colour, half of the picture, where the mask is set in the middle of each step.
void tint(image::Image& picture, const image::Rle& mask, int step, const Color& color) {
  const std::array<int, 3> parts = {color.r, color.g, color.b};
  const auto stride = static_cast<std::size_t>(step);
  image::for_each_pixel(mask, [&](std::size_t pixel) {
    const std::size_t x = pixel % mask.width;
    const std::size_t y = pixel / mask.width;
    if (x % stride != stride / 2 || y % stride != stride / 2) return;
    std::uint8_t* values = picture.row(static_cast<int>(y / stride)) + 3 * (x / stride);
    for (std::size_t c = 0; c < 3; ++c) {
      values[c] = static_cast<std::uint8_t>((values[c] + parts[c]) / 2);
    }
  });
}

void draw_label(Canvas& canvas, const DetectedObject& object, double zoom, const Color& color) {
  const TextStyle style{.size = kTextSize, .color = kPaper, .bold = true};
  const std::string text = fmt::format("{} {:.2f}", object.name, object.score);
  const double height = kTextSize + 2.0 * kTextMargin;
  const double x = object.box.x * zoom;
  // Above the box where there is room, else inside it.
  const double y = object.box.y * zoom >= height ? object.box.y * zoom - height : object.box.y * zoom;
  canvas.fill(x, y, text_width(text, style) + 2.0 * kTextMargin, height, color);
  canvas.text({x + kTextMargin, y + kTextSize}, text, style);
}

}  // namespace

image::Image draw_detections(const image::Image& picture, const std::vector<DetectedObject>& objects,
                             const std::string& note) {
  const int step = step_of(picture);
  image::Image tinted =
      averaged(picture.width, picture.height, step, [&](int x, int y) { return color_at(picture, x, y); });
  for (const DetectedObject& object : objects) tint(tinted, object.mask, step, series_color(object.label));
  const double zoom = zoom_of(picture, kSmallestShown);
  const double height = picture.height * zoom;
  const double note_height = note.empty() ? 0.0 : kNoteHeight;
  Canvas canvas(static_cast<int>(picture.width * zoom), static_cast<int>(height + note_height));
  canvas.paste(tinted, 0.0, 0.0, picture.width * zoom, height, zoom < 1.0);
  // The surest on top.
  for (const DetectedObject& object : objects | std::views::reverse) {
    const Color color = series_color(object.label);
    canvas.frame(object.box.x * zoom, object.box.y * zoom, object.box.w * zoom, object.box.h * zoom, color,
                 2.0);
    draw_label(canvas, object, zoom, color);
  }
  if (!note.empty()) canvas.text({kTextMargin, height + kTextSize}, note, {.size = kTextSize, .color = kRed});
  return canvas.finish();
}

}  // namespace spatialmamba::draw
