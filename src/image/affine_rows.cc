#include "image/affine_rows.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "image/affine_rows.cc"
#include <hwy/foreach_target.h>  // must come before highway.h
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::image::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

namespace {

/// Where pixel (x, y) of the moved picture is taken from, in pixels' corners.
struct Source {
  Source(const Affine& affine, int column, int row) {
    const double cx = column + 0.5;
    const double cy = row + 0.5;
    x = affine.xx * cx + affine.xy * cy + affine.x0;
    y = affine.yx * cx + affine.yy * cy + affine.y0;
  }
  bool inside(const PaddedPixels& in) const { return x >= 0.0 && x < in.width && y >= 0.0 && y < in.height; }

  double x;
  double y;
};

/// A straight line meets the picture in one piece.
Columns columns_inside(const PaddedPixels& in, const Affine& affine, int y) {
  Columns columns{.begin = 0, .end = in.width};
  while (columns.begin < columns.end && !Source(affine, columns.begin, y).inside(in)) ++columns.begin;
  while (columns.begin < columns.end && !Source(affine, columns.end - 1, y).inside(in)) --columns.end;
  return columns;
}

// The reference's own arithmetic: a pixel at a time, in double.

using Reals = hn::CappedTag<double, kPixelSlots>;
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
  const Integer v2 = load(p + kPixelSlots);
  const Integer v3 = load(p + 2 * kPixelSlots);
  const Integer v4 = load(p + 3 * kPixelSlots);
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

struct Bicubic {
  static Real sample(const std::uint8_t* pixel, std::ptrdiff_t row_bytes, double dx, double dy) {
    const std::uint8_t* row = pixel - row_bytes - kPixelSlots;
    return cubic_column(cubic_row(row, dx), cubic_row(row + row_bytes, dx),
                        cubic_row(row + 2 * row_bytes, dx), cubic_row(row + 3 * row_bytes, dx), dy);
  }
};

struct Bilinear {
  static Real between(Real a, Real b, double t) {
    return hn::Add(a, hn::Mul(hn::Sub(b, a), hn::Set(Reals(), t)));
  }
  static Real row(const std::uint8_t* pixel, double dx) {
    return between(real(load(pixel)), real(load(pixel + kPixelSlots)), dx);
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
void interpolate(const PaddedPixels& in, const Affine& affine, int x, int y, std::uint8_t* out) {
  const Source from(affine, x, y);
  const double left = std::floor(from.x - 0.5);
  const double top = std::floor(from.y - 0.5);
  const std::uint8_t* pixel = in.at(static_cast<int>(left), static_cast<int>(top));
  for (std::size_t slot = 0; slot < kPixelSlots; slot += hn::Lanes(Reals())) {
    store(Interpolation::sample(pixel + slot, in.row_bytes, from.x - 0.5 - left, from.y - 0.5 - top),
          out + slot);
  }
}

template <class Interpolation>
void interpolate_all(const PaddedPixels& in, const Affine& affine, Columns columns, int y,
                     std::uint8_t* out) {
  for (int x = columns.begin; x < columns.end; ++x)
    interpolate<Interpolation>(in, affine, x, y, out + kPixelSlots * static_cast<std::size_t>(x));
}

#if HWY_TARGET != HWY_SCALAR  // which has no four lanes for a pixel

// The same in float, all sixteen neighbours of a point in as few vectors as they fit in. As the result is cut
// off to a whole number, its error matters only next to one: there the arithmetic above decides.

using Floats = hn::CappedTag<float, 4 * kPixelSlots>;
constexpr std::size_t kFloats = hn::MaxLanes(Floats());
using FloatBytes = hn::Rebind<std::uint8_t, Floats>;
using FloatIntegers = hn::Rebind<std::int32_t, Floats>;

/// With u = 2^-24: a sum is at most 1.5^2 * 255 = 574, as the weights' absolute values along an axis add up
/// to at most 1.5, and it is rounded eight times; the weights along an axis are off by 8 u together, the
/// point itself by u / 2. To first order, and at most over all points, that is 9,200 u = 0.00055.
constexpr float kUncertain = 0x1.0p-10F;

/// So many points at a time that what is kept of them stays next to the processor.
constexpr std::size_t kPoints = 64;

struct Points {
  HWY_ALIGN std::int32_t left[kPoints];
  HWY_ALIGN std::int32_t top[kPoints];
  HWY_ALIGN float dx[kPoints];
  HWY_ALIGN float dy[kPoints];
  HWY_ALIGN float column_weights[4 * kPoints];  ///< [point][tap]
  HWY_ALIGN float row_weights[4][kPoints];
  HWY_ALIGN float sums[kPixelSlots * kPoints];
};

template <class D, class V = hn::Vec<D>>
void locate_along(D d, V from, std::int32_t* whole, float* fraction) {
  from = hn::Sub(from, hn::Set(d, 0.5));
  const V floor = hn::Floor(from);
  hn::StoreU(hn::DemoteTo(hn::Rebind<std::int32_t, D>(), floor), hn::Rebind<std::int32_t, D>(), whole);
  hn::StoreU(hn::DemoteTo(hn::Rebind<float, D>(), hn::Sub(from, floor)), hn::Rebind<float, D>(), fraction);
}

/// What is kept of points beyond `count`, as far as a vector reaches, has no meaning, here and below.
void locate(const Affine& affine, int first, int count, int y, Points& points) {
  const hn::CappedTag<double, kPoints> d;
  const auto cy = hn::Set(d, y + 0.5);
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); i += hn::Lanes(d)) {
    const auto cx = hn::Iota(d, first + static_cast<double>(i) + 0.5);
    const auto along = [&](double x, double y_part, double offset) {
      return hn::Add(hn::Add(hn::Mul(hn::Set(d, x), cx), hn::Mul(hn::Set(d, y_part), cy)),
                     hn::Set(d, offset));
    };
    locate_along(d, along(affine.xx, affine.xy, affine.x0), points.left + i, points.dx + i);
    locate_along(d, along(affine.yx, affine.yy, affine.y0), points.top + i, points.dy + i);
  }
}

/// Keys' cubic with a = -1 at t from the second of four neighbours.
template <class V>
struct CubicWeights {
  template <class D>
  CubicWeights(D d, V t) {
    const V one = hn::Set(d, 1.0F);
    const V square = hn::Mul(t, t);
    const V rest = hn::Sub(one, t);
    w4 = hn::Neg(hn::Mul(square, rest));
    w1 = hn::Neg(hn::Mul(t, hn::Mul(rest, rest)));
    w2 = hn::Sub(one, hn::Mul(square, hn::Sub(hn::Set(d, 2.0F), t)));
    w3 = hn::Mul(t, hn::Sub(hn::Add(one, t), square));
  }
  V w1, w2, w3, w4;
};

void weigh(int count, Points& points) {
  const hn::CappedTag<float, kPoints> d;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); i += hn::Lanes(d)) {
    const CubicWeights<hn::Vec<decltype(d)>> x(d, hn::Load(d, points.dx + i));
    hn::StoreInterleaved4(x.w1, x.w2, x.w3, x.w4, d, points.column_weights + 4 * i);
    const CubicWeights<hn::Vec<decltype(d)>> y(d, hn::Load(d, points.dy + i));
    hn::Store(y.w1, d, points.row_weights[0] + i);
    hn::Store(y.w2, d, points.row_weights[1] + i);
    hn::Store(y.w3, d, points.row_weights[2] + i);
    hn::Store(y.w4, d, points.row_weights[3] + i);
  }
}

/// The four neighbours of a row lie side by side in a vector: their sum as one pixel.
template <class D, class V = hn::Vec<D>>
auto sum_of_pixels([[maybe_unused]] D d, V pixels) {
  if constexpr (hn::MaxLanes(D()) <= kPixelSlots) {
    return pixels;
  } else {
    const hn::Half<D> half;
    return sum_of_pixels(half, hn::Add(hn::LowerHalf(half, pixels), hn::UpperHalf(half, pixels)));
  }
}

void add_up(const PaddedPixels& in, int count, Points& points) {
  const Floats d;
  constexpr std::size_t kVectors = 4 * kPixelSlots / kFloats;
  const hn::CappedTag<float, kPixelSlots> pixel_lanes;
  const auto tap = hn::ShiftRight<2>(hn::Iota(FloatIntegers(), 0));
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const std::uint8_t* first = in.at(points.left[i] - 1, points.top[i] - 1);
    auto sum = hn::Zero(pixel_lanes);
    for (std::size_t v = 0; v < kVectors; ++v) {
      auto column = hn::Zero(d);
      for (std::size_t row = 0; row < 4; ++row) {
        const std::uint8_t* bytes = first + in.row_bytes * static_cast<std::ptrdiff_t>(row) + v * kFloats;
        const auto values = hn::ConvertTo(d, hn::PromoteTo(FloatIntegers(), hn::LoadU(FloatBytes(), bytes)));
        column = hn::MulAdd(values, hn::Set(d, points.row_weights[row][i]), column);
      }
      const auto taps =
          hn::Add(tap, hn::Set(FloatIntegers(), static_cast<std::int32_t>(v * kFloats / kPixelSlots)));
      const auto weights =
          hn::TableLookupLanes(hn::LoadDup128(d, points.column_weights + 4 * i), hn::IndicesFromVec(d, taps));
      sum = hn::Add(sum, sum_of_pixels(d, hn::Mul(column, weights)));
    }
    hn::Store(sum, pixel_lanes, points.sums + kPixelSlots * i);
  }
}

std::uint32_t pixel_at(const std::uint8_t* bytes) {
  std::uint32_t pixel = 0;
  std::memcpy(&pixel, bytes, sizeof(pixel));
  return pixel;
}

/// A bit for each byte of a pixel in which the sixteen neighbours are not all the same.
std::size_t varying_slots(const std::uint8_t* first, std::ptrdiff_t row_bytes) {
  const std::uint32_t reference = pixel_at(first);
  std::uint32_t different = 0;
  for (int row = 0; row < 4; ++row) {
    for (std::size_t x = 0; x < 4; ++x) {
      different |= pixel_at(first + row_bytes * row + x * kPixelSlots) ^ reference;
    }
  }
  std::uint8_t bytes[kPixelSlots];
  std::memcpy(bytes, &different, sizeof(bytes));
  std::size_t slots = 0;
  for (std::size_t slot = 0; slot < kPixelSlots; ++slot) slots |= std::size_t{bytes[slot] != 0} << slot;
  return slots;
}

/// Decides about the slots whose sum lies next to a whole number: it is one where all neighbours are the
/// same.
void settle(const PaddedPixels& in, const Affine& affine, int x, int y, const std::uint8_t* first,
            std::size_t uncertain, std::uint8_t* out) {
  const std::size_t varying = varying_slots(first, in.row_bytes);
  if ((uncertain & varying) != 0) {
    interpolate<Bicubic>(in, affine, x, y, out);
    return;
  }
  for (std::size_t slot = 0; slot < kPixelSlots; ++slot) {
    if ((uncertain >> slot & 1) != 0) out[slot] = first[slot];
  }
}

/// The sums cut off to bytes; returns a bit for each one that is too close to a whole number to say.
template <class D>
std::size_t cut_off(D d, const float* sums, std::uint8_t* out) {
  const hn::Rebind<std::int32_t, D> integers;
  const hn::Rebind<std::uint8_t, D> bytes;
  // What is clearly outside of 0 … 255 is certain.
  const auto sum = hn::Min(hn::Max(hn::Load(d, sums), hn::Set(d, -0.5F)), hn::Set(d, 255.5F));
  hn::StoreU(hn::DemoteTo(bytes, hn::ConvertTo(integers, sum)), bytes, out);
  const auto distance = hn::Abs(hn::Sub(sum, hn::Round(sum)));
  std::uint8_t bits[8] = {};
  hn::StoreMaskBits(d, hn::Lt(distance, hn::Set(d, kUncertain)), bits);
  std::uint64_t mask = 0;
  std::memcpy(&mask, bits, sizeof(mask));
  return static_cast<std::size_t>(mask);
}

void finish(const PaddedPixels& in, const Affine& affine, int first, int count, int y, const Points& points,
            std::uint8_t* out) {
  const Floats d;
  constexpr std::size_t kPixels = kFloats / kPixelSlots;
  const std::size_t used = (std::size_t{1} << in.channels) - 1;
  const auto end = static_cast<std::size_t>(count);
  for (std::size_t i = 0; i < end; i += kPixels) {
    std::uint8_t pixels[kFloats];
    const std::size_t here = std::min(kPixels, end - i);
    std::size_t uncertain = cut_off(d, points.sums + kPixelSlots * i, pixels);
    uncertain &= (std::size_t{1} << (kPixelSlots * here)) - 1;
    std::memcpy(out + kPixelSlots * i, pixels, kPixelSlots * here);
    for (std::size_t k = i; uncertain != 0; ++k, uncertain >>= kPixelSlots) {
      if ((uncertain & used) == 0) continue;
      settle(in, affine, first + static_cast<int>(k), y, in.at(points.left[k] - 1, points.top[k] - 1),
             uncertain & used, out + kPixelSlots * k);
    }
  }
}

void interpolate_bicubic(const PaddedPixels& in, const Affine& affine, Columns columns, int y,
                         std::uint8_t* out) {
  Points points;
  for (int first = columns.begin; first < columns.end; first += static_cast<int>(kPoints)) {
    const int count = std::min(static_cast<int>(kPoints), columns.end - first);
    locate(affine, first, count, y, points);
    weigh(count, points);
    add_up(in, count, points);
    finish(in, affine, first, count, y, points, out + kPixelSlots * static_cast<std::size_t>(first));
  }
}

#else

void interpolate_bicubic(const PaddedPixels& in, const Affine& affine, Columns columns, int y,
                         std::uint8_t* out) {
  interpolate_all<Bicubic>(in, affine, columns, y, out);
}

#endif

}  // namespace

Columns transform_row(const PaddedPixels& in, const Affine& affine, Filter filter, int y, std::uint8_t* out) {
  const Columns columns = columns_inside(in, affine, y);
  const auto interpolate = filter == Filter::bicubic ? interpolate_bicubic : interpolate_all<Bilinear>;
  interpolate(in, affine, columns, y, out);
  return columns;
}

}  // namespace spatialmamba::image::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::image {

HWY_EXPORT(transform_row);

Columns transform_row(const PaddedPixels& in, const Affine& affine, Filter filter, int y, std::uint8_t* out) {
  return HWY_DYNAMIC_DISPATCH(transform_row)(in, affine, filter, y, out);
}

}  // namespace spatialmamba::image
#endif
