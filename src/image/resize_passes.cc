#include "image/resize_passes.h"

#include <algorithm>

#include "image/wide_pixels.h"

// Every instruction set computes the same integers, so Highway's own choice of the best one is all that is
// needed.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "image/resize_passes.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::image::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr std::int32_t kHalf = 1 << (Taps::kPrecisionBits - 1);
using Sums = hn::CappedTag<std::int32_t, 16>;
using Bytes = hn::Rebind<std::uint8_t, Sums>;

/// sum >> 22, saturated to 0 … 255.
template <class V>
auto to_bytes(V sum) {
  return hn::DemoteTo(Bytes(), hn::ShiftRight<Taps::kPrecisionBits>(sum));
}

/// A vector holds the same pixel of several rows, [x][row][slot]: where these rows lie, and how far it is
/// from pixel to pixel.
struct RowGroup {
  std::size_t slots;  ///< bytes per pixel, each padded to a power of two of channels
  std::size_t rows;

  std::size_t step() const { return slots * rows; }
};

void gather_rows(const PixelView& in, int first_row, int rows, const RowGroup& group, std::uint8_t* packed) {
  const auto channels = static_cast<std::size_t>(in.channels);
  const std::uint8_t* from = in.data + in.stride * static_cast<std::size_t>(first_row);
  for (int r = 0; r < rows; ++r, from += in.stride, packed += group.slots)
    widen_pixels(channels, from, in.width, packed, group.step());
}

void scatter_rows(const std::uint8_t* packed, int width, int rows, const RowGroup& group,
                  std::size_t channels, std::uint8_t* out) {
  for (int r = 0; r < rows; ++r, packed += group.slots, out += static_cast<std::size_t>(width) * channels)
    narrow_pixels(channels, packed, group.step(), width, out);
}

/// What the positions take of packed rows, `lanes` bytes of each at a time.
void resize_packed(const std::uint8_t* packed, const Taps& taps, std::size_t step, std::uint8_t* out) {
  const Sums sums;
  const Bytes bytes;
  for (const Taps::Position& position : taps.positions) {
    const std::int32_t* weights = taps.weights.data() + position.weights;
    const std::uint8_t* first = packed + step * static_cast<std::size_t>(position.first);
    for (std::size_t lane = 0; lane < step; lane += hn::Lanes(sums), out += hn::Lanes(sums)) {
      const std::uint8_t* from = first + lane;
      auto sum = hn::Set(sums, kHalf);
      for (int k = 0; k < position.count; ++k, from += step) {
        const auto pixel = hn::PromoteTo(sums, hn::LoadU(bytes, from));
        sum = hn::Add(sum, hn::Mul(pixel, hn::Set(sums, weights[k])));
      }
      hn::StoreU(to_bytes(sum), bytes, out);
    }
  }
}

void resize_rows(const PixelView& in, const Taps& taps, std::uint8_t* out) {
  const auto channels = static_cast<std::size_t>(in.channels);
  const std::size_t slots = channels == 1 ? 1 : kPixelSlots;
  // A vector may be shorter than a pixel.
  const RowGroup group{.slots = slots, .rows = std::max<std::size_t>(1, hn::Lanes(Sums()) / slots)};
  const auto width = static_cast<int>(taps.positions.size());
  std::vector<std::uint8_t> packed(static_cast<std::size_t>(in.width) * group.step());
  std::vector<std::uint8_t> resized(taps.positions.size() * group.step());

  for (int y = 0; y < in.height; y += static_cast<int>(group.rows)) {
    const int rows = std::min(static_cast<int>(group.rows), in.height - y);
    gather_rows(in, y, rows, group, packed.data());
    resize_packed(packed.data(), taps, group.step(), resized.data());
    scatter_rows(resized.data(), width, rows, group, channels, out);
    out += static_cast<std::size_t>(rows) * taps.positions.size() * channels;
  }
}

/// One output row from `count` input rows, `lanes` bytes at a time.
void blend_rows(const std::uint8_t* from, std::size_t stride, const std::int32_t* weights, int count,
                std::size_t row_bytes, std::uint8_t* to) {
  const Sums sums;
  const Bytes bytes;
  const std::size_t lanes = hn::Lanes(sums);
  std::size_t x = 0;
  for (; x + 2 * lanes <= row_bytes; x += 2 * lanes) {  // two at once hide the multiplication's latency
    auto sum0 = hn::Set(sums, kHalf);
    auto sum1 = sum0;
    const std::uint8_t* column = from + x;
    for (int k = 0; k < count; ++k, column += stride) {
      const auto weight = hn::Set(sums, weights[k]);
      sum0 = hn::Add(sum0, hn::Mul(hn::PromoteTo(sums, hn::LoadU(bytes, column)), weight));
      sum1 = hn::Add(sum1, hn::Mul(hn::PromoteTo(sums, hn::LoadU(bytes, column + lanes)), weight));
    }
    hn::StoreU(to_bytes(sum0), bytes, to + x);
    hn::StoreU(to_bytes(sum1), bytes, to + x + lanes);
  }
  for (; x < row_bytes; ++x) {
    std::int32_t sum = kHalf;
    for (int k = 0; k < count; ++k) sum += from[static_cast<std::size_t>(k) * stride + x] * weights[k];
    to[x] = static_cast<std::uint8_t>(std::clamp(sum >> Taps::kPrecisionBits, 0, 255));
  }
}

void resize_columns(const PixelView& in, const Taps& taps, std::uint8_t* out) {
  const std::size_t row_bytes = static_cast<std::size_t>(in.width) * static_cast<std::size_t>(in.channels);
  for (const Taps::Position& position : taps.positions) {
    blend_rows(in.data + in.stride * static_cast<std::size_t>(position.first), in.stride,
               taps.weights.data() + position.weights, position.count, row_bytes, out);
    out += row_bytes;
  }
}

}  // namespace spatialmamba::image::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::image {

HWY_EXPORT(resize_rows);
HWY_EXPORT(resize_columns);

void resize_rows(const PixelView& in, const Taps& taps, std::uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(resize_rows)(in, taps, out);
}

void resize_columns(const PixelView& in, const Taps& taps, std::uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(resize_columns)(in, taps, out);
}

}  // namespace spatialmamba::image
#endif
