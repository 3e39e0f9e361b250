#include "image/adjust.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>

#include "image/color_passes.h"

namespace spatialmamba::image {
namespace {

constexpr int kValues = 256;
using Table = std::array<std::uint8_t, kValues>;
using Histogram = std::array<std::uint32_t, kValues>;

std::uint8_t saturate(int value) {
  return static_cast<std::uint8_t>(std::clamp(value, 0, kValues - 1));
}

/// A table of what `value_of` gives for each value, cut off to 8 bits.
template <typename ValueOf>
Table make_table(const ValueOf& value_of) {
  Table table;
  for (int value = 0; value < kValues; ++value)
    table[static_cast<std::size_t>(value)] = saturate(value_of(value));
  return table;
}

template <std::size_t kChannels>
void look_up(Image& picture, const std::array<Table, kChannels>& tables) {
  std::uint8_t* const end = picture.pixels.data() + picture.pixels.size();
  for (std::uint8_t* pixel = picture.pixels.data(); pixel != end; pixel += kChannels) {
    for (std::size_t c = 0; c < kChannels; ++c) pixel[c] = tables[c][pixel[c]];
  }
}

void look_up(Image& picture, const Table& table) {
  look_up<1>(picture, {table});
}

template <std::size_t kChannels>
std::array<Histogram, kChannels> count_values(const Image& picture) {
  std::array<Histogram, kChannels> counts{};
  const std::uint8_t* const end = picture.pixels.data() + picture.pixels.size();
  for (const std::uint8_t* pixel = picture.pixels.data(); pixel != end; pixel += kChannels) {
    for (std::size_t c = 0; c < kChannels; ++c) ++counts[c][pixel[c]];
  }
  return counts;
}

/// Applies to each channel the table that its histogram leads to.
template <std::size_t kChannels>
void look_up_by_histogram(Image& picture, Table (*table_of)(const Histogram&)) {
  const std::array<Histogram, kChannels> counts = count_values<kChannels>(picture);
  std::array<Table, kChannels> tables;
  std::ranges::transform(counts, tables.begin(), table_of);
  look_up<kChannels>(picture, tables);
}

void look_up_by_histogram(Image& picture, Table (*table_of)(const Histogram&)) {
  if (picture.channels == 1) return look_up_by_histogram<1>(picture, table_of);
  look_up_by_histogram<3>(picture, table_of);
}

Table unchanged() {
  return make_table([](int value) { return value; });
}

bool occurs(std::uint32_t count) {
  return count > 0;
}

Table stretching_table(const Histogram& counts) {
  const auto low = static_cast<int>(std::ranges::find_if(counts, occurs) - counts.begin());
  const auto above = std::find_if(counts.rbegin(), counts.rend(), occurs).base();
  const int high = static_cast<int>(above - counts.begin()) - 1;
  if (high <= low) return unchanged();
  const double scale = 255.0 / (high - low);
  const double offset = -low * scale;
  return make_table([&](int value) { return static_cast<int>(value * scale + offset); });
}

Table equalizing_table(const Histogram& counts) {
  const std::uint32_t pixels = std::accumulate(counts.begin(), counts.end(), 0U);
  const auto last = std::find_if(counts.rbegin(), counts.rend(), occurs);
  const std::uint32_t step = last == counts.rend() ? 0 : (pixels - *last) / 255;
  if (step == 0) return unchanged();
  std::uint32_t below = step / 2;
  return make_table([&](int value) {
    const std::uint32_t level = below / step;
    below += counts[static_cast<std::size_t>(value)];
    return static_cast<int>(level);
  });
}

/// Blends every value with the same degenerate one, as color_passes.h does.
Table blending_table(int degenerate, float factor) {
  return make_table([&](int value) {
    const float mixed = static_cast<float>(degenerate) + factor * static_cast<float>(value - degenerate);
    return static_cast<int>(std::clamp(mixed, 0.0F, 255.0F));
  });
}

}  // namespace

void adjust_brightness(Image& picture, float factor) {
  look_up(picture, blending_table(0, factor));
}

void adjust_contrast(Image& picture, float factor) {
  const Image grey = with_channels(picture, 1);
  const auto sum = std::accumulate(grey.pixels.begin(), grey.pixels.end(), std::uint64_t{0});
  const double mean = static_cast<double>(sum) / static_cast<double>(grey.pixels.size());
  look_up(picture, blending_table(static_cast<int>(mean + 0.5), factor));
}

void adjust_saturation(Image& picture, float factor) {
  if (picture.channels == 1) return;
  blend_with_luma(picture.pixels.data(), picture.pixels.size() / 3, factor);
}

void adjust_sharpness(Image& picture, float factor) {
  if (picture.width < 3 || picture.height < 3) return;
  const Image original = picture;
  for (int y = 1; y + 1 < picture.height; ++y) {
    const SmoothedRow row{.above = original.row(y - 1),
                          .here = original.row(y),
                          .below = original.row(y + 1),
                          .pixels = static_cast<std::size_t>(picture.width),
                          .channels = static_cast<std::size_t>(picture.channels)};
    blend_with_smoothed(row, factor, picture.row(y));
  }
}

void auto_contrast(Image& picture) {
  look_up_by_histogram(picture, stretching_table);
}

void equalize(Image& picture) {
  look_up_by_histogram(picture, equalizing_table);
}

void invert(Image& picture) {
  solarize(picture, 0);
}

void posterize(Image& picture, int bits) {
  const int mask = ~((1 << (8 - bits)) - 1);
  look_up(picture, make_table([&](int value) { return value & mask; }));
}

void solarize(Image& picture, int threshold) {
  look_up(picture, make_table([&](int value) { return value < threshold ? value : 255 - value; }));
}

void solarize_add(Image& picture, int amount) {
  constexpr int kBelow = 128;
  look_up(picture, make_table([&](int value) { return value < kBelow ? value + amount : value; }));
}

}  // namespace spatialmamba::image
