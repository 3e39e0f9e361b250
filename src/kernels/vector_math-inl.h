// Vector functions, compiled per instruction set: include after hwy/foreach_target.h and hwy/highway.h.
// Accuracy over the whole range is stated in elementwise.h and tested there.

#if defined(SPATIALMAMBA_VECTOR_MATH_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef SPATIALMAMBA_VECTOR_MATH_TOGGLE
#undef SPATIALMAMBA_VECTOR_MATH_TOGGLE
#else
#define SPATIALMAMBA_VECTOR_MATH_TOGGLE
#endif

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/vector_constants.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Calls body(tag, c) for the channels [begin, end): whole vectors first, then one channel at a time, so that
/// nothing beyond the end is touched.
template <typename T, typename Body>
HWY_INLINE void for_vectors(std::int64_t begin, std::int64_t end, const Body& body) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t c = begin;
  for (; c + lanes <= end; c += lanes) body(d, c);
  const hn::CappedTag<T, 1> single;
  for (; c < end; ++c) body(single, c);
}

/// A sum over the channels of a row, filled in by the body of for_vectors().
template <typename T>
class RowSum {
 public:
  HWY_INLINE RowSum() : wide_(hn::Zero(kTag)) {}

  template <class D>
  HWY_INLINE void add(D, hn::Vec<D> v) {
    if constexpr (std::is_same_v<D, Tag>) {
      wide_ = hn::Add(wide_, v);
    } else {
      tail_ += hn::GetLane(v);
    }
  }
  template <class D>
  HWY_INLINE void add_product(D d, hn::Vec<D> a, hn::Vec<D> b) {
    if constexpr (std::is_same_v<D, Tag>) {
      wide_ = hn::MulAdd(a, b, wide_);
    } else {
      add(d, hn::Mul(a, b));
    }
  }
  HWY_INLINE T value() const { return hn::GetLane(hn::SumOfLanes(kTag, wide_)) + tail_; }

 private:
  using Tag = hn::ScalableTag<T>;
  static constexpr Tag kTag{};

  hn::Vec<Tag> wide_;
  T tail_ = 0;
};

/// Horner's scheme, lowest power first.
template <class D, typename T, std::size_t kCount>
HWY_INLINE hn::Vec<D> polynomial(D d, hn::Vec<D> x, const std::array<T, kCount>& coefficients) {
  auto sum = hn::Set(d, coefficients[kCount - 1]);
  for (std::size_t i = kCount - 1; i-- > 0;) sum = hn::MulAdd(sum, x, hn::Set(d, coefficients[i]));
  return sum;
}

/// x = n ln2 + r: e^r, and n in the low bits of an integer (plus that of kRounder).
template <class D>
struct ReducedExp {
  hn::Vec<D> mantissa;
  hn::Vec<hn::RebindToSigned<D>> exponent;
};

template <class D>
HWY_INLINE ReducedExp<D> reduced_exp(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  using K = MathConstants<T>;
  const auto rounder = hn::Set(d, K::kRounder);
  const auto shifted = hn::MulAdd(x, hn::Set(d, static_cast<T>(1.4426950408889634074)), rounder);
  const auto n = hn::Sub(shifted, rounder);
  const auto high = hn::NegMulAdd(n, hn::Set(d, K::kLn2High), x);
  const auto r = hn::NegMulAdd(n, hn::Set(d, K::kLn2Low), high);
  const auto tail = hn::MulAdd(hn::Mul(r, r), polynomial(d, r, K::kExp), r);
  return {hn::Add(tail, hn::Set(d, T{1})), hn::BitCast(hn::RebindToSigned<D>(), shifted)};
}

/// e^x where that is a normal number; arguments beyond are moved to the limit.
template <class D>
HWY_INLINE hn::Vec<D> exp_normal(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  using K = MathConstants<T>;
  // The order of the operands lets NaN through on x86.
  const auto clamped = hn::Min(hn::Set(d, K::kExpHighestNormal), hn::Max(hn::Set(d, K::kExpLowestNormal), x));
  const auto e = reduced_exp(d, clamped);
  const auto scale = hn::ShiftLeft<K::kMantissaBits>(
      hn::Add(e.exponent, hn::Set(hn::RebindToSigned<D>(), K::kExponentBias)));
  return hn::Mul(e.mantissa, hn::BitCast(d, scale));
}

/// e^x for every x: 0, denormal, infinite, NaN.
template <class D>
HWY_INLINE hn::Vec<D> exp_full(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  using K = MathConstants<T>;
  const hn::RebindToSigned<D> di;
  const auto clamped = hn::Min(hn::Set(d, K::kExpHighest), hn::Max(hn::Set(d, K::kExpLowest), x));
  const auto e = reduced_exp(d, clamped);
  // In two factors, since 2^n itself may be denormal or infinite.
  const auto n = hn::Sub(e.exponent, hn::BitCast(di, hn::Set(d, K::kRounder)));
  const auto half = hn::ShiftRight<1>(n);
  const auto bias = hn::Set(di, K::kExponentBias);
  const auto first = hn::ShiftLeft<K::kMantissaBits>(hn::Add(half, bias));
  const auto second = hn::ShiftLeft<K::kMantissaBits>(hn::Add(hn::Sub(n, half), bias));
  const auto y = hn::Mul(hn::Mul(e.mantissa, hn::BitCast(d, first)), hn::BitCast(d, second));
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

template <class D>
struct SoftplusResult {
  hn::Vec<D> value;
  hn::Vec<D> slope;  ///< the logistic function
};

template <class D>
HWY_INLINE hn::Vec<D> atanh_polynomial(D d, hn::Vec<D> s) {
  using T = hn::TFromD<D>;
  const auto square = hn::Mul(s, s);
  return hn::MulAdd(hn::Mul(s, square), polynomial(d, square, MathConstants<T>::kAtanh), s);
}

/// log(1 + e^x) = max(x, 0) + log1p(e) with e = e^-|x| and log1p(e) = 2 atanh(e / (2 + e)).
template <class D>
HWY_INLINE hn::Vec<D> softplus_of(D d, hn::Vec<D> x, hn::Vec<D> e) {
  using T = hn::TFromD<D>;
  const auto s = hn::Div(e, hn::Add(e, hn::Set(d, T{2})));
  const auto value = hn::MulAdd(hn::Set(d, T{2}), atanh_polynomial(d, s), hn::Max(hn::Zero(d), x));
  if constexpr (kSoftplusHasStep<T>) {
    return hn::IfThenElse(hn::Gt(x, hn::Set(d, static_cast<T>(kSoftplusThreshold))), x, value);
  }
  return value;
}

template <class D>
HWY_INLINE hn::Vec<D> softplus(D d, hn::Vec<D> x) {
  return softplus_of(d, x, exp_normal(d, hn::Neg(hn::Abs(x))));
}

/// Value and derivative with one division.
template <class D>
HWY_INLINE SoftplusResult<D> softplus_with_slope(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  const auto one = hn::Set(d, T{1});
  const auto e = exp_normal(d, hn::Neg(hn::Abs(x)));
  const auto plus_one = hn::Add(e, one);
  const auto plus_two = hn::Add(e, hn::Set(d, T{2}));
  const auto inverse = hn::Div(one, hn::Mul(plus_one, plus_two));
  const auto s = hn::Mul(hn::Mul(e, plus_one), inverse);
  auto value = hn::MulAdd(hn::Set(d, T{2}), atanh_polynomial(d, s), hn::Max(hn::Zero(d), x));
  const auto upper = hn::Mul(plus_two, inverse);  // 1 / (1 + e)
  auto slope = hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(e, upper), upper);
  if constexpr (kSoftplusHasStep<T>) {
    const auto above = hn::Gt(x, hn::Set(d, static_cast<T>(kSoftplusThreshold)));
    value = hn::IfThenElse(above, x, value);
    slope = hn::IfThenElse(above, one, slope);
  }
  return {value, slope};
}

template <class D>
HWY_INLINE hn::Vec<D> silu(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, hn::TFromD<D>{1});
  return hn::Div(x, hn::Add(one, exp_normal(d, hn::Neg(x))));
}

template <class D>
struct SiluResult {
  hn::Vec<D> value;
  hn::Vec<D> slope;  ///< s (1 + x (1 - s)) with s = 1 / (1 + e^-x)
};

template <class D>
HWY_INLINE SiluResult<D> silu_with_slope(D d, hn::Vec<D> x) {
  const auto one = hn::Set(d, hn::TFromD<D>{1});
  const auto e = exp_normal(d, hn::Neg(x));
  const auto s = hn::Div(one, hn::Add(one, e));
  // 1 - s = e · s, which does not cancel.
  return {hn::Mul(x, s), hn::Mul(s, hn::MulAdd(x, hn::Mul(e, s), one))};
}

/// erfc(z) for z >= 0, and e^-z² on the way.
template <class D>
struct ErfcResult {
  hn::Vec<D> value;
  hn::Vec<D> gauss;
};

template <class D>
HWY_INLINE ErfcResult<D> erfc_positive(D d, hn::Vec<D> z) {
  using T = hn::TFromD<D>;
  using K = MathConstants<T>;
  const auto three = hn::Set(d, T{3});
  const auto bounded = hn::Min(hn::Set(d, K::kErfcLargest), z);
  const auto square = hn::Mul(bounded, bounded);
  // What rounding took from the square, so that the relative error does not grow with z.
  const auto lost = hn::MulSub(bounded, bounded, square);
  const auto e = exp_normal(d, hn::Neg(square));
  const auto gauss = hn::NegMulAdd(e, lost, e);
  const auto inverse = hn::Div(hn::Set(d, T{1}), hn::Add(bounded, three));
  const auto t = hn::Mul(hn::Sub(bounded, three), inverse);
  return {hn::Mul(hn::Mul(gauss, inverse), polynomial(d, t, K::kErfcx)), gauss};
}

template <class D>
HWY_INLINE hn::Vec<D> erf(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  const auto z = hn::Abs(x);
  const auto far = hn::CopySign(hn::Sub(hn::Set(d, T{1}), erfc_positive(d, z).value), x);
  const auto near = hn::Mul(x, polynomial(d, hn::Mul(x, x), MathConstants<T>::kErf));
  const auto y = hn::IfThenElse(hn::Lt(z, hn::Set(d, static_cast<T>(0.5))), near, far);
  return hn::IfThenElse(hn::IsNaN(x), x, y);
}

inline constexpr double kInverseSqrt2 = 0.70710678118654752440;
inline constexpr double kInverseSqrt2Pi = 0.39894228040143267794;

/// Phi(x) = erfc(-x / sqrt 2) / 2 from the side that is small, so that nothing cancels.
template <class D>
HWY_INLINE hn::Vec<D> normal_distribution(D d, hn::Vec<D> x, hn::Vec<D> erfc_of_abs) {
  using T = hn::TFromD<D>;
  const auto small = hn::Mul(hn::Set(d, static_cast<T>(0.5)), erfc_of_abs);
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), small, hn::Sub(hn::Set(d, T{1}), small));
}

template <class D>
HWY_INLINE hn::Vec<D> gelu(D d, hn::Vec<D> x) {
  const auto z = hn::Mul(hn::Abs(x), hn::Set(d, static_cast<hn::TFromD<D>>(kInverseSqrt2)));
  return hn::Mul(x, normal_distribution(d, x, erfc_positive(d, z).value));
}

/// Phi(x) + x phi(x).
template <class D>
HWY_INLINE hn::Vec<D> gelu_slope(D d, hn::Vec<D> x) {
  using T = hn::TFromD<D>;
  const auto z = hn::Mul(hn::Abs(x), hn::Set(d, static_cast<T>(kInverseSqrt2)));
  const auto erfc = erfc_positive(d, z);
  const auto density = hn::Mul(erfc.gauss, hn::Set(d, static_cast<T>(kInverseSqrt2Pi)));
  return hn::MulAdd(x, density, normal_distribution(d, x, erfc.value));
}

}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
