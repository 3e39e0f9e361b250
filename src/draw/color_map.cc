#include "draw/color_map.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <opencv2/imgproc.hpp>

namespace spatialmamba::draw {
namespace {

using Table = std::array<Color, 256>;

Table viridis_table() {
  cv::Mat ramp(1, 256, CV_8UC1);
  for (int i = 0; i < 256; ++i) ramp.at<std::uint8_t>(0, i) = static_cast<std::uint8_t>(i);
  cv::Mat colored;  // blue, green, red
  cv::applyColorMap(ramp, colored, cv::COLORMAP_VIRIDIS);
  Table table;
  for (int i = 0; i < 256; ++i) {
    const auto& pixel = colored.at<cv::Vec3b>(0, i);
    table[static_cast<std::size_t>(i)] = {pixel[2], pixel[1], pixel[0]};
  }
  return table;
}

std::uint8_t blend(std::uint8_t from, std::uint8_t to, double share) {
  return static_cast<std::uint8_t>(std::lround(from + (to - from) * share));
}

Color blend(Color from, Color to, double share) {
  return {blend(from.r, to.r, share), blend(from.g, to.g, share), blend(from.b, to.b, share)};
}

}  // namespace

Color color_of(double value, ColorMap map) {
  if (std::isnan(value)) return kMuted;
  value = std::clamp(value, 0.0, 1.0);
  if (map == ColorMap::viridis) {
    static const Table table = viridis_table();
    return table[static_cast<std::size_t>(std::lround(value * 255.0))];
  }
  static constexpr Color kMiddle{96, 152, 224};
  static constexpr Color kDark{16, 52, 120};
  return value < 0.5 ? blend(kPaper, kMiddle, 2.0 * value) : blend(kMiddle, kDark, 2.0 * value - 1.0);
}

Color readable_on(Color background) {
  const double luma = 0.299 * background.r + 0.587 * background.g + 0.114 * background.b;
  return luma > 145.0 ? kInk : kPaper;
}

}  // namespace spatialmamba::draw
