#include "image/transform.h"

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "base/error.h"

namespace spatialmamba::image {
namespace {

constexpr std::int64_t kMaxEdge = 1 << 30;

/// The size to resize to, so that a (width, height) target is covered: for a square target the short edge is
/// `width` and the long one int(width * long / short), as torchvision has it.
std::array<int, 2> covering_size(const Image& picture, std::int64_t width, std::int64_t height) {
  const std::int64_t w = picture.width;
  const std::int64_t h = picture.height;
  const bool fit_width = w * height <= h * width;
  const std::int64_t new_width = fit_width ? width : height * w / h;
  const std::int64_t new_height = fit_width ? width * h / w : height;
  if (std::max(new_width, new_height) > kMaxEdge) fail("a picture of {} x {} is too narrow to resize", w, h);
  return {static_cast<int>(new_width), static_cast<int>(new_height)};
}

/// Python's round((whole - part) / 2): halves go to the even number.
int centre_offset(int whole, int part) {
  return static_cast<int>(std::nearbyint((whole - part) / 2.0));
}

/// Every 8-bit value, normalised as torchvision's ToTensor and Normalize do it.
using Table = std::array<float, 256>;
Table normalisation_table(float mean, float std) {
  Table table{};
  for (std::size_t v = 0; v < table.size(); ++v) table[v] = (static_cast<float>(v) / 255.0F - mean) / std;
  return table;
}

}  // namespace

void validate(const InputFormat& format) {
  if (format.height < 1 || format.width < 1) {
    fail_usage("input size {} x {}: both sides must be at least 1", format.width, format.height);
  }
  if (format.channels != 1 && format.channels != 3)
    fail_usage("{} input channels, expected 1 or 3", format.channels);
  for (int c = 0; c < format.channels; ++c) {
    const float std = format.std[static_cast<std::size_t>(c)];
    if (!(std > 0.0F) || !std::isfinite(std))
      fail_usage("standard deviation {} of channel {}: must be positive", std, c);
  }
}

Image eval_crop(const Image& picture, const EvalTransform& transform) {
  const InputFormat& format = transform.format;
  validate(format);
  if (!(transform.crop > 0.0 && transform.crop <= 1.0)) {
    fail_usage("centre crop {}: expected a part in (0, 1]", transform.crop);
  }
  const auto [width, height] =
      covering_size(picture, static_cast<std::int64_t>(format.width / transform.crop),
                    static_cast<std::int64_t>(format.height / transform.crop));
  if (picture.channels != format.channels)
    return eval_crop(with_channels(picture, format.channels), transform);
  const Rect centre{.left = centre_offset(width, format.width),
                    .top = centre_offset(height, format.height),
                    .width = format.width,
                    .height = format.height};
  return resize_part(picture, bounds(picture), width, height, centre, transform.filter);
}

void normalize(const Image& picture, const InputFormat& format, std::span<float> out) {
  if (picture.width != format.width || picture.height != format.height ||
      picture.channels != format.channels || out.size() != format.values()) {
    fail("cannot normalise a picture of {} x {} x {} for an input of {} x {} x {}", picture.height,
         picture.width, picture.channels, format.height, format.width, format.channels);
  }
  std::array<Table, 3> tables;
  const auto channels = static_cast<std::size_t>(format.channels);
  for (std::size_t c = 0; c < channels; ++c) tables[c] = normalisation_table(format.mean[c], format.std[c]);
  const std::uint8_t* in = picture.pixels.data();
  for (std::size_t i = 0; i < out.size(); i += channels) {
    for (std::size_t c = 0; c < channels; ++c) out[i + c] = tables[c][in[i + c]];
  }
}

std::vector<float> eval_input(const Image& picture, const EvalTransform& transform) {
  std::vector<float> out(transform.format.values());
  normalize(eval_crop(picture, transform), transform.format, out);
  return out;
}

}  // namespace spatialmamba::image
