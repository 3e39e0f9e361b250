#include "image/affine.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <numbers>
#include <vector>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "image/affine.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

#ifndef SPATIALMAMBA_IMAGE_AFFINE_TYPES
#define SPATIALMAMBA_IMAGE_AFFINE_TYPES
namespace spatialmamba::image {

/// A pixel is four bytes, of which the picture's channels come first, so that it is one group of lanes.
constexpr std::size_t kSlots = 4;
/// Pixels repeated beyond each edge: as far as bicubic reaches from a point inside.
constexpr int kMargin = 2;

/// The picture in that form, its edges repeated; `origin` is pixel (0, 0).
struct PaddedPixels {
  std::vector<std::uint8_t> bytes;
  std::ptrdiff_t row_bytes = 0;
  const std::uint8_t* origin = nullptr;
  int width = 0;
  int height = 0;

  const std::uint8_t* at(int x, int y) const {
    return origin + row_bytes * y + static_cast<std::ptrdiff_t>(kSlots) * x;
  }
};

}  // namespace spatialmamba::image
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::image::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

namespace {

using Reals = hn::CappedTag<double, kSlots>;
using Integers = hn::Rebind<std::int32_t, Reals>;
using Bytes = hn::Rebind<std::uint8_t, Reals>;
using Real = hn::Vec<Reals>;
using Integer = hn::Vec<Integers>;

Integer load(const std::uint8_t* pixel) {
  return hn::PromoteTo(Integers(), hn::LoadU(Bytes(), pixel));
}

Real real(Integer value) {
  return hn::PromoteTo(Reals(), value);
}

/// ((p4 t + p3) t + p2) t + p1, never fused: the reference is compiled without.
Real horner(Real p1, Real p2, Real p3, Real p4, Real t) {
  const Real inner = hn::Add(p2, hn::Mul(t, hn::Add(p3, hn::Mul(t, p4))));
  return hn::Add(p1, hn::Mul(t, inner));
}

/// Across one row, whose four pixels begin at `p`; the coefficients are whole numbers.
Real cubic_row(const std::uint8_t* p, double dx) {
  const Integer v1 = load(p);
  const Integer v2 = load(p + kSlots);
  const Integer v3 = load(p + 2 * kSlots);
  const Integer v4 = load(p + 3 * kSlots);
  const Integer low = hn::Sub(v1, v2);
  const Integer high = hn::Sub(v3, v4);
  const Integer p3 = hn::Add(hn::Add(low, low), high);
  const Integer p4 = hn::Sub(hn::Neg(low), high);
  return horner(real(v2), real(hn::Sub(v3, v1)), real(p3), real(p4), hn::Set(Reals(), dx));
}

Real cubic_column(Real v1, Real v2, Real v3, Real v4, double dy) {
  const Real p2 = hn::Add(hn::Neg(v1), v3);
  const Real p3 = hn::Sub(hn::Add(hn::Mul(hn::Set(Reals(), 2.0), hn::Sub(v1, v2)), v3), v4);
  const Real p4 = hn::Add(hn::Sub(hn::Sub(v2, v1), v3), v4);
  return horner(v2, p2, p3, p4, hn::Set(Reals(), dy));
}

/// A point on the grid along an axis needs no interpolation along it: shifts and shears do half the work.
struct Bicubic {
  static Real row(const std::uint8_t* pixel, double dx) {
    return dx == 0.0 ? real(load(pixel)) : cubic_row(pixel - kSlots, dx);
  }
  static Real sample(const std::uint8_t* pixel, std::ptrdiff_t row_bytes, double dx, double dy) {
    if (dy == 0.0) return row(pixel, dx);
    return cubic_column(row(pixel - row_bytes, dx), row(pixel, dx), row(pixel + row_bytes, dx),
                        row(pixel + 2 * row_bytes, dx), dy);
  }
};

struct Bilinear {
  static Real between(Real a, Real b, double t) {
    return hn::Add(a, hn::Mul(hn::Sub(b, a), hn::Set(Reals(), t)));
  }
  static Real row(const std::uint8_t* pixel, double dx) {
    return between(real(load(pixel)), real(load(pixel + kSlots)), dx);
  }
  static Real sample(const std::uint8_t* pixel, std::ptrdiff_t row_bytes, double dx, double dy) {
    return between(row(pixel, dx), row(pixel + row_bytes, dx), dy);
  }
};

void store(Real value, std::uint8_t* pixel) {
  const Reals reals;
  value = hn::Min(hn::Max(value, hn::Zero(reals)), hn::Set(reals, 255.0));
  hn::StoreU(hn::DemoteTo(Bytes(), hn::DemoteTo(Integers(), value)), Bytes(), pixel);
}

template <class Interpolation>
void interpolate_row(const PaddedPixels& in, const Affine& affine, int y, std::uint8_t* out) {
  const double cy = y + 0.5;
  for (int x = 0; x < in.width; ++x, out += kSlots) {
    const double cx = x + 0.5;
    double from_x = affine.xx * cx + affine.xy * cy + affine.x0;
    double from_y = affine.yx * cx + affine.yy * cy + affine.y0;
    if (!(from_x >= 0.0 && from_x < in.width && from_y >= 0.0 && from_y < in.height)) continue;
    from_x -= 0.5;
    from_y -= 0.5;
    const double left = std::floor(from_x);
    const double top = std::floor(from_y);
    const std::uint8_t* pixel = in.at(static_cast<int>(left), static_cast<int>(top));
    for (std::size_t slot = 0; slot < kSlots; slot += hn::Lanes(Reals())) {
      store(Interpolation::sample(pixel + slot, in.row_bytes, from_x - left, from_y - top), out + slot);
    }
  }
}

}  // namespace

void transform_row(const PaddedPixels& in, const Affine& affine, Filter filter, int y, std::uint8_t* out) {
  if (filter == Filter::bilinear) {
    interpolate_row<Bilinear>(in, affine, y, out);
  } else {
    interpolate_row<Bicubic>(in, affine, y, out);
  }
}

}  // namespace spatialmamba::image::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::image {

HWY_EXPORT(transform_row);

namespace {

/// A constant number of channels turns the copies into single moves.
template <std::size_t kChannels>
void widen_row(const std::uint8_t* from, int width, std::uint8_t* to) {
  for (int x = 0; x < width; ++x, from += kChannels, to += kSlots) std::copy_n(from, kChannels, to);
}

template <std::size_t kChannels>
void narrow_row(const std::uint8_t* from, int width, std::uint8_t* to) {
  for (int x = 0; x < width; ++x, from += kSlots, to += kChannels) std::copy_n(from, kChannels, to);
}

PaddedPixels pad(const Image& picture) {
  PaddedPixels padded;
  padded.width = picture.width;
  padded.height = picture.height;
  const auto row_bytes = kSlots * static_cast<std::size_t>(picture.width + 2 * kMargin);
  padded.row_bytes = static_cast<std::ptrdiff_t>(row_bytes);
  padded.bytes.resize(row_bytes * static_cast<std::size_t>(picture.height + 2 * kMargin));
  padded.origin = padded.bytes.data() + padded.row_bytes * kMargin + kSlots * kMargin;
  for (int y = -kMargin; y < picture.height + kMargin; ++y) {
    std::uint8_t* row = padded.bytes.data() + padded.row_bytes * (y + kMargin);
    const std::uint8_t* from = picture.row(std::clamp(y, 0, picture.height - 1));
    (picture.channels == 1 ? widen_row<1> : widen_row<3>)(from, picture.width, row + kSlots * kMargin);
    std::uint8_t* last = row + kSlots * static_cast<std::size_t>(picture.width + kMargin - 1);
    for (std::size_t k = 1; k <= kMargin; ++k) {
      std::memcpy(row + kSlots * (kMargin - k), row + kSlots * kMargin, kSlots);
      std::memcpy(last + kSlots * k, last, kSlots);
    }
  }
  return padded;
}

/// Rounded to 15 decimals as Python's round() does it: the decimal nearest to the exact value.
double round_to_15_decimals(double value) {
  const std::string text = fmt::format("{:.15f}", value);
  double rounded = 0.0;
  std::from_chars(text.data(), text.data() + text.size(), rounded);
  return rounded;
}

}  // namespace

Affine rotation(double degrees, int width, int height) {
  constexpr double kFullTurn = 360.0;
  degrees = std::fmod(degrees, kFullTurn);
  if (degrees < 0.0) degrees += kFullTurn;
  const double angle = -(degrees * (std::numbers::pi / 180.0));
  const double cosine = round_to_15_decimals(std::cos(angle));
  const double sine = round_to_15_decimals(std::sin(angle));
  const double x = width / 2.0;
  const double y = height / 2.0;
  Affine affine{
      .xx = cosine, .xy = sine, .x0 = 0.0, .yx = round_to_15_decimals(-std::sin(angle)), .yy = cosine};
  affine.x0 = affine.xx * -x + affine.xy * -y + 0.0 + x;
  affine.y0 = affine.yx * -x + affine.yy * -y + 0.0 + y;
  return affine;
}

Image transform(const Image& picture, const Affine& affine, Filter filter,
                const std::array<std::uint8_t, 3>& fill) {
  if (filter != Filter::bilinear && filter != Filter::bicubic) {
    fail("a picture is moved with bilinear or bicubic interpolation, not {}", name_of(filter));
  }
  const PaddedPixels padded = pad(picture);
  Image out(picture.width, picture.height, picture.channels);
  const auto channels = static_cast<std::size_t>(picture.channels);
  std::vector<std::uint8_t> background(kSlots * static_cast<std::size_t>(picture.width));
  for (std::size_t i = 0; i < background.size(); i += kSlots)
    std::copy_n(fill.begin(), channels, &background[i]);
  std::vector<std::uint8_t> row;
  for (int y = 0; y < picture.height; ++y) {
    row = background;
    HWY_DYNAMIC_DISPATCH(transform_row)(padded, affine, filter, y, row.data());
    (picture.channels == 1 ? narrow_row<1> : narrow_row<3>)(row.data(), picture.width, out.row(y));
  }
  return out;
}

}  // namespace spatialmamba::image
#endif
