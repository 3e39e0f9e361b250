#include "image/color_passes.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "image/color_passes.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::image::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

namespace {

constexpr std::size_t kMaxLanes = 16;
using Integers = hn::CappedTag<std::int32_t, kMaxLanes>;
using Reals = hn::Rebind<float, Integers>;
using Bytes = hn::Rebind<std::uint8_t, Integers>;
using Integer = hn::Vec<Integers>;
using Byte = hn::Vec<Bytes>;

Integer widen(Byte value) {
  return hn::PromoteTo(Integers(), value);
}

Integer load(const std::uint8_t* from) {
  return widen(hn::LoadU(Bytes(), from));
}

/// degenerate + factor (value - degenerate), never fused: the reference is compiled without.
Byte blend(Integer degenerate, Integer value, hn::Vec<Reals> factor) {
  const Reals reals;
  const auto change = hn::Mul(factor, hn::ConvertTo(reals, hn::Sub(value, degenerate)));
  auto mixed = hn::Add(hn::ConvertTo(reals, degenerate), change);
  mixed = hn::Min(hn::Max(mixed, hn::Zero(reals)), hn::Set(reals, 255.0F));
  return hn::DemoteTo(Bytes(), hn::ConvertTo(Integers(), mixed));
}

Integer luma_of(Integer red, Integer green, Integer blue) {
  const Integers d;
  Integer sum = hn::Add(hn::Mul(red, hn::Set(d, 19595)), hn::Set(d, 0x8000));
  sum = hn::Add(sum, hn::Mul(green, hn::Set(d, 38470)));
  sum = hn::Add(sum, hn::Mul(blue, hn::Set(d, 7471)));
  return hn::ShiftRight<16>(sum);
}

/// (sum of the eight neighbours + 5 times the centre) / 13, rounded to nearest. There are no ties, so
/// Pillow's float32 arithmetic comes to the same.
Integer smoothed(const SmoothedRow& row, std::size_t at) {
  const Integers d;
  const std::size_t step = row.channels;
  const Integer centre = load(row.here + at);
  Integer sum = hn::Add(hn::Add(load(row.here + at - step), load(row.here + at + step)),
                        hn::Add(hn::ShiftLeft<2>(centre), centre));
  for (const std::uint8_t* neighbour : {row.above + at, row.below + at}) {
    sum = hn::Add(sum, hn::Add(hn::Add(load(neighbour - step), load(neighbour)), load(neighbour + step)));
  }
  constexpr int kThirteenth = 5042;  // of 2^16, exact for what 8-bit values can add up to
  return hn::ShiftRight<16>(hn::Mul(hn::Add(sum, hn::Set(d, 6)), hn::Set(d, kThirteenth)));
}

}  // namespace

void luma(const std::uint8_t* pixels, std::size_t count, std::uint8_t* grey) {
  const Bytes bytes;
  const std::size_t lanes = hn::Lanes(bytes);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    Byte red;
    Byte green;
    Byte blue;
    hn::LoadInterleaved3(bytes, pixels + 3 * i, red, green, blue);
    hn::StoreU(hn::DemoteTo(bytes, luma_of(widen(red), widen(green), widen(blue))), bytes, grey + i);
  }
  for (; i < count; ++i) {
    const std::uint8_t* pixel = pixels + 3 * i;
    grey[i] =
        static_cast<std::uint8_t>((pixel[0] * 19595 + pixel[1] * 38470 + pixel[2] * 7471 + 0x8000) >> 16);
  }
}

void blend_with_luma(std::uint8_t* pixels, std::size_t count, float factor) {
  const Bytes bytes;
  const std::size_t lanes = hn::Lanes(bytes);
  const auto share = hn::Set(Reals(), factor);
  const auto blend_group = [&](std::uint8_t* group) {
    Byte red;
    Byte green;
    Byte blue;
    hn::LoadInterleaved3(bytes, group, red, green, blue);
    const Integer grey = luma_of(widen(red), widen(green), widen(blue));
    hn::StoreInterleaved3(blend(grey, widen(red), share), blend(grey, widen(green), share),
                          blend(grey, widen(blue), share), bytes, group);
  };
  const std::size_t whole = count - count % lanes;
  for (std::size_t i = 0; i < whole; i += lanes) blend_group(pixels + 3 * i);
  if (whole < count) {
    std::uint8_t rest[3 * kMaxLanes] = {};
    std::copy(pixels + 3 * whole, pixels + 3 * count, rest);
    blend_group(rest);
    std::copy_n(rest, 3 * (count - whole), pixels + 3 * whole);
  }
}

void blend_with_smoothed(const SmoothedRow& row, float factor, std::uint8_t* out) {
  const Bytes bytes;
  const std::size_t lanes = hn::Lanes(bytes);
  const auto share = hn::Set(Reals(), factor);
  const std::size_t end = (row.pixels - 1) * row.channels;
  const auto blend_group = [&](const SmoothedRow& from, std::size_t at, std::uint8_t* to) {
    hn::StoreU(blend(smoothed(from, at), load(from.here + at), share), bytes, to);
  };
  std::size_t at = row.channels;
  for (; at + lanes <= end; at += lanes) blend_group(row, at, out + at);
  if (at == end) return;
  // What is left of the row, with room for a whole vector behind it.
  constexpr std::size_t kRoom = 3 + kMaxLanes + 3;
  std::uint8_t rows[3][kRoom] = {};
  const std::size_t first = at - row.channels;
  const std::size_t left = row.pixels * row.channels - first;
  std::copy_n(row.above + first, left, rows[0]);
  std::copy_n(row.here + first, left, rows[1]);
  std::copy_n(row.below + first, left, rows[2]);
  std::uint8_t result[kMaxLanes];
  blend_group({rows[0], rows[1], rows[2], row.pixels, row.channels}, row.channels, result);
  std::copy_n(result, end - at, out + at);
}

}  // namespace spatialmamba::image::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::image {

HWY_EXPORT(luma);
HWY_EXPORT(blend_with_luma);
HWY_EXPORT(blend_with_smoothed);

void luma(const std::uint8_t* pixels, std::size_t count, std::uint8_t* grey) {
  HWY_DYNAMIC_DISPATCH(luma)(pixels, count, grey);
}

void blend_with_luma(std::uint8_t* pixels, std::size_t count, float factor) {
  HWY_DYNAMIC_DISPATCH(blend_with_luma)(pixels, count, factor);
}

void blend_with_smoothed(const SmoothedRow& row, float factor, std::uint8_t* out) {
  HWY_DYNAMIC_DISPATCH(blend_with_smoothed)(row, factor, out);
}

}  // namespace spatialmamba::image
#endif
