#include "draw/grid.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"
#include "draw/canvas.h"

namespace spatialmamba::draw {
namespace {

constexpr int kPictureSide = 128;
constexpr int kGap = 16;
constexpr int kCaption = 40;
constexpr int kMargin = 24;
constexpr int kHeader = 72;

/// The largest rectangle of the picture's shape inside the tile's square.
void paste_fitted(Canvas& canvas, const image::Image& picture, double x, double y) {
  const double scale = double(kPictureSide) / std::max(picture.width, picture.height);
  const double w = picture.width * scale;
  const double h = picture.height * scale;
  const bool smooth = std::max(picture.width, picture.height) >= kPictureSide / 2;
  canvas.paste(picture, x + (kPictureSide - w) / 2, y + (kPictureSide - h) / 2, w, h, smooth);
}

void draw_tile(Canvas& canvas, const Tile& tile, double x, double y) {
  const bool right = tile.truth == tile.predicted;
  canvas.fill(x, y, kPictureSide, kPictureSide, {243, 245, 247});
  paste_fitted(canvas, tile.picture, x, y);
  if (!right) canvas.frame(x - 3, y - 3, kPictureSide + 6, kPictureSide + 6, kRed, 3);
  const std::string share = fmt::format("{:.0f} %", 100.0 * tile.confidence);
  const TextStyle small{.size = 11.5, .color = kMuted, .align = Align::right};
  const TextStyle name{.size = 12.5, .color = right ? kGreen : kRed, .bold = true};
  const double caption = y + kPictureSide + 17;
  canvas.text({x, caption}, shortened(tile.predicted, name, kPictureSide - text_width(share, small) - 5),
              name);
  canvas.text({x + kPictureSide, caption}, share, small);
  if (!right) {
    const TextStyle truth{.size = 11.5, .color = kMuted};
    canvas.text({x, caption + 16}, shortened("is: " + tile.truth, truth, kPictureSide), truth);
  }
}

}  // namespace

image::Image draw_grid(const std::vector<Tile>& tiles, const std::string& title, int columns) {
  if (tiles.empty() || columns < 1) fail("nothing to draw: {} tiles in {} columns", tiles.size(), columns);
  const int count = static_cast<int>(tiles.size());
  columns = std::min(columns, count);
  const int rows = (count + columns - 1) / columns;
  const int cell_width = kPictureSide + kGap;
  const int cell_height = kPictureSide + kCaption + kGap;
  constexpr int kLeastWidth = 360;  // room for the header
  Canvas canvas(std::max(2 * kMargin + columns * cell_width - kGap, kLeastWidth),
                kHeader + rows * cell_height + kMargin - kGap);
  canvas.text({kMargin, 34}, shortened(title, {.size = 18, .bold = true}, canvas.width() - 2 * kMargin),
              {.size = 18, .bold = true});
  const auto wrong =
      std::ranges::count_if(tiles, [](const Tile& tile) { return tile.truth != tile.predicted; });
  canvas.text({kMargin, 56}, fmt::format("{} of {} right; wrong ones have a red frame", count - wrong, count),
              {.size = 12.5, .color = kMuted});
  for (int i = 0; i < count; ++i) {
    draw_tile(canvas, tiles[static_cast<std::size_t>(i)], kMargin + (i % columns) * cell_width,
              kHeader + (i / columns) * cell_height);
  }
  return canvas.finish();
}

}  // namespace spatialmamba::draw
