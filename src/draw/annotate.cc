#include "draw/annotate.h"

#include <fmt/format.h>

#include <algorithm>

#include "draw/canvas.h"

namespace spatialmamba::draw {
namespace {

constexpr double kMargin = 20;
constexpr double kHeader = 46;
constexpr double kRow = 36;
constexpr double kNote = 24;

struct Size {
  double width;
  double height;
};

/// As large as it is, but neither unwieldy nor tiny.
Size shown_size(const image::Image& picture) {
  constexpr double kLargest = 640;
  constexpr double kSmallest = 320;
  const double side = std::max(picture.width, picture.height);
  const double scale = std::clamp(side, kSmallest, kLargest) / side;
  return {std::max(1.0, picture.width * scale), std::max(1.0, picture.height * scale)};
}

void draw_guess(Canvas& canvas, const Guess& guess, bool best, double y) {
  const double width = canvas.width() - 2 * kMargin;
  const std::string share = fmt::format("{:.1f} %", 100.0 * guess.probability);
  const TextStyle name{.size = 14, .bold = best};
  const TextStyle number{.size = 13, .color = kMuted, .align = Align::right};
  canvas.text({kMargin, y + 12}, shortened(guess.name, name, width - text_width("100.0 %", number) - 10),
              name);
  canvas.text({kMargin + width, y + 12}, share, number);
  canvas.fill(kMargin, y + 20, width, 6, {236, 239, 243});
  canvas.fill(kMargin, y + 20, width * std::clamp(guess.probability, 0.0, 1.0), 6,
              best ? kBlue : Color{147, 178, 240});
}

}  // namespace

image::Image annotate(const image::Image& picture, const std::vector<Guess>& guesses,
                      const std::string& title, const std::string& note) {
  constexpr double kLeastWidth = 360;
  const Size size = shown_size(picture);
  const double width = std::max(size.width, kLeastWidth);
  const double bars = kHeader + size.height + 22;
  const double height = bars + kRow * double(guesses.size()) + (note.empty() ? 4 : kNote);
  Canvas canvas(static_cast<int>(width + 2 * kMargin), static_cast<int>(height));
  const TextStyle heading{.size = 15, .bold = true};
  canvas.text({kMargin, 30}, shortened(title, heading, width), heading);
  const bool smooth = std::max(picture.width, picture.height) >= 64;
  canvas.paste(picture, kMargin + (width - size.width) / 2, kHeader, size.width, size.height, smooth);
  for (std::size_t i = 0; i < guesses.size(); ++i)
    draw_guess(canvas, guesses[i], i == 0, bars + kRow * double(i));
  if (!note.empty()) {
    const TextStyle style{.size = 12.5, .color = kRed};
    canvas.text({kMargin, height - 12}, shortened(note, style, width), style);
  }
  return canvas.finish();
}

}  // namespace spatialmamba::draw
