#include "detection/boxes.h"

#include <algorithm>
#include <cmath>

namespace spatialmamba::detection {
namespace {

constexpr float kLeastArea = 1e-6F;

float area(const Box& box) {
  return (box.x2 - box.x1) * (box.y2 - box.y1);
}

float intersection(const Box& a, const Box& b) {
  const float w = std::max(std::min(a.x2, b.x2) - std::max(a.x1, b.x1), 0.0F);
  const float h = std::max(std::min(a.y2, b.y2) - std::max(a.y1, b.y1), 0.0F);
  return w * h;
}

}  // namespace

Box clipped(const Box& box, const Extent& extent) {
  const auto w = static_cast<float>(extent.width);
  const auto h = static_cast<float>(extent.height);
  return {std::clamp(box.x1, 0.0F, w), std::clamp(box.y1, 0.0F, h), std::clamp(box.x2, 0.0F, w),
          std::clamp(box.y2, 0.0F, h)};
}

float iou(const Box& a, const Box& b) {
  const float both = intersection(a, b);
  return both / std::max(area(a) + area(b) - both, kLeastArea);
}

float overlap_of_first(const Box& a, const Box& b) {
  return intersection(a, b) / std::max(area(a), kLeastArea);
}

std::array<float, 4> BoxCoder::encode(const Box& prior, const Box& box) const {
  const float pw = prior.x2 - prior.x1;
  const float ph = prior.y2 - prior.y1;
  const float px = (prior.x1 + prior.x2) * 0.5F;
  const float py = (prior.y1 + prior.y2) * 0.5F;
  const float gx = (box.x1 + box.x2) * 0.5F;
  const float gy = (box.y1 + box.y2) * 0.5F;
  return {(gx - px) / pw / deviations[0], (gy - py) / ph / deviations[1],
          std::log((box.x2 - box.x1) / pw) / deviations[2], std::log((box.y2 - box.y1) / ph) / deviations[3]};
}

Box BoxCoder::decode(const Box& prior, std::span<const float, 4> deltas) const {
  static const auto kLargest = static_cast<float>(std::abs(std::log(16.0 / 1000.0)));
  const float pw = prior.x2 - prior.x1;
  const float ph = prior.y2 - prior.y1;
  const float x = (prior.x1 + prior.x2) * 0.5F + pw * (deltas[0] * deviations[0]);
  const float y = (prior.y1 + prior.y2) * 0.5F + ph * (deltas[1] * deviations[1]);
  const float w = pw * std::exp(std::clamp(deltas[2] * deviations[2], -kLargest, kLargest));
  const float h = ph * std::exp(std::clamp(deltas[3] * deviations[3], -kLargest, kLargest));
  return {x - w * 0.5F, y - h * 0.5F, x + w * 0.5F, y + h * 0.5F};
}

std::vector<Box> AnchorGenerator::shapes(std::int64_t stride) const {
  std::vector<Box> boxes;
  for (const float ratio : ratios) {
    const float root = std::sqrt(ratio);
    const float w = static_cast<float>(stride) * (1.0F / root) * scale;
    const float h = static_cast<float>(stride) * root * scale;
    boxes.push_back({-0.5F * w, -0.5F * h, 0.5F * w, 0.5F * h});
  }
  return boxes;
}

std::vector<Box> AnchorGenerator::grid(std::int64_t stride, std::int64_t height, std::int64_t width) const {
  const std::vector<Box> around = shapes(stride);
  std::vector<Box> boxes;
  boxes.reserve(around.size() * static_cast<std::size_t>(height * width));
  for (std::int64_t row = 0; row < height; ++row) {
    for (std::int64_t column = 0; column < width; ++column) {
      const auto x = static_cast<float>(column * stride);
      const auto y = static_cast<float>(row * stride);
      for (const Box& box : around) boxes.push_back({box.x1 + x, box.y1 + y, box.x2 + x, box.y2 + y});
    }
  }
  return boxes;
}

std::vector<std::uint8_t> AnchorGenerator::reached(std::int64_t stride, std::int64_t height,
                                                   std::int64_t width, const Extent& image) const {
  const std::int64_t rows = std::min((image.height + stride - 1) / stride, height);
  const std::int64_t columns = std::min((image.width + stride - 1) / stride, width);
  std::vector<std::uint8_t> flags;
  for (std::int64_t i = 0; i < height * width; ++i) {
    flags.insert(flags.end(), ratios.size(), i / width < rows && i % width < columns ? 1 : 0);
  }
  return flags;
}

std::int64_t pyramid_level(const Box& box, std::int64_t levels, float finest_scale) {
  const float side = std::sqrt((box.x2 - box.x1) * (box.y2 - box.y1));
  const float level = std::floor(std::log2(side / finest_scale + 1e-6F));
  return static_cast<std::int64_t>(std::clamp(level, 0.0F, static_cast<float>(levels - 1)));
}

}  // namespace spatialmamba::detection
