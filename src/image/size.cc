#include "image/size.h"

#include <charconv>
#include <string_view>

#include "base/error.h"

namespace spatialmamba::image {
namespace {

constexpr std::int64_t kLargestSide = 16384;

std::int64_t parse_side(std::string_view text, const std::string& whole) {
  std::int64_t side = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), side);
  if (error != std::errc() || end != text.data() + text.size() || side < 1 || side > kLargestSide) {
    fail_usage("size '{}': expected pixels such as 224, or HEIGHTxWIDTH such as 224x320, each from 1 to {}",
               whole, kLargestSide);
  }
  return side;
}

}  // namespace

ImageSize parse_size(const std::string& text) {
  const std::size_t cross = text.find('x');
  if (cross == std::string::npos) {
    const std::int64_t side = parse_side(text, text);
    return {side, side};
  }
  const std::string_view view = text;
  return {parse_side(view.substr(0, cross), text), parse_side(view.substr(cross + 1), text)};
}

}  // namespace spatialmamba::image
