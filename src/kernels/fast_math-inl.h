// Vector functions for inference, compiled per instruction set: include after hwy/foreach_target.h and
// hwy/highway.h. Faster than those of vector_math-inl.h and a little less exact: no division, no care for
// denormal results. The bounds below are tested over the ranges that they name.

#if defined(SPATIALMAMBA_FAST_MATH_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef SPATIALMAMBA_FAST_MATH_TOGGLE
#undef SPATIALMAMBA_FAST_MATH_TOGGLE
#else
#define SPATIALMAMBA_FAST_MATH_TOGGLE
#endif

#include <array>

#include "hwy/highway.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// 2^x for x <= 0; smaller than 2^-126 becomes 0 or 2^-126. Relative error 2e-7.
template <class D>
HWY_INLINE hn::Vec<D> fast_exp2_negative(D d, hn::Vec<D> x) {
  // 2^r, |r| <= 1/2, minimax.
  constexpr std::array<float, 6> kExp2 = {1.000000072F,   0.6931469671F,   0.2402211973F,
                                          0.05550713292F, 0.009675541287F, 0.001327646606F};
  const hn::RebindToSigned<D> di;
  const auto rounder = hn::Set(d, 0x1.8p23F);
  const auto bounded = hn::Max(hn::Set(d, -126.0F), x);
  const auto shifted = hn::Add(bounded, rounder);
  const auto r = hn::Sub(bounded, hn::Sub(shifted, rounder));
  const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted));
  return hn::BitCast(d, hn::Add(hn::BitCast(di, polynomial(d, r, kExp2)), exponent));
}

/// 1 / x for normal x. Relative error 3e-7.
template <class D>
HWY_INLINE hn::Vec<D> fast_reciprocal(D d, hn::Vec<D> x) {
  const auto guess = hn::ApproximateReciprocal(x);
  return hn::Mul(guess, hn::NegMulAdd(x, guess, hn::Set(d, 2.0F)));
}

/// x / (1 + e^-x). Absolute error 4e-7 of max(1, |x|).
template <class D>
HWY_INLINE hn::Vec<D> fast_silu(D d, hn::Vec<D> x) {
  const auto e = fast_exp2_negative(d, hn::Mul(hn::Abs(x), hn::Set(d, -1.44269504F)));
  // 1 / (1 + e) is the logistic function of |x|, that of -|x| is e times as large.
  const auto upper = hn::Mul(x, fast_reciprocal(d, hn::Add(e, hn::Set(d, 1.0F))));
  return hn::IfThenElse(hn::Lt(x, hn::Zero(d)), hn::Mul(upper, e), upper);
}

/// log(1 + e^x). Relative error 5e-7.
template <class D>
HWY_INLINE hn::Vec<D> fast_softplus(D d, hn::Vec<D> x) {
  // log(1 + e) / e, 0 <= e <= 1, minimax.
  constexpr std::array<float, 8> kLog1p = {0.9999998057F, -0.4999740524F, 0.3327547728F,  -0.2449544794F,
                                           0.1774519909F, -0.1076810938F, 0.04408918265F, -0.008539080516F};
  const auto e = fast_exp2_negative(d, hn::Mul(hn::Abs(x), hn::Set(d, -1.44269504F)));
  return hn::MulAdd(e, polynomial(d, e, kLog1p), hn::Max(hn::Zero(d), x));
}

/// x Phi(x) with the distribution function of the normal distribution as 1/2 + t P(2 t²/c² - 1), t being x
/// bounded by ±c.
template <class D, std::size_t kCount>
HWY_INLINE hn::Vec<D> gelu_by_polynomial(D d, hn::Vec<D> x, float bound,
                                         const std::array<float, kCount>& coefficients) {
  const auto t = hn::Min(hn::Set(d, bound), hn::Max(hn::Set(d, -bound), x));
  const auto s = hn::MulSub(hn::Mul(t, t), hn::Set(d, 2.0F / (bound * bound)), hn::Set(d, 1.0F));
  return hn::Mul(x, hn::MulAdd(t, polynomial(d, s, coefficients), hn::Set(d, 0.5F)));
}

/// The exact GELU. Absolute error 2e-6 of max(1, |x|).
template <class D>
HWY_INLINE hn::Vec<D> fast_gelu(D d, hn::Vec<D> x) {
  constexpr std::array<float, 13> kPhi = {
      0.1413637876F,   -0.07029628062F,  0.05152052235F,  -0.0404426073F,  0.03144217188F,
      -0.02326865317F, 0.01640217649F,   -0.01116433812F, 0.006410506329F, -0.002685576305F,
      0.001722803173F, -0.001613264658F, 0.0006087260071F};
  return gelu_by_polynomial(d, x, 5.0F, kPhi);
}

/// The same for results that are rounded to bf16. Absolute error 1.1e-4 of max(1, |x|).
template <class D>
HWY_INLINE hn::Vec<D> coarse_gelu(D d, hn::Vec<D> x) {
  constexpr std::array<float, 9> kPhi = {0.1535408313F,   -0.07570478617F, 0.05423453877F,
                                         -0.04135396293F, 0.02898167435F,  -0.01617965028F,
                                         0.0118948403F,   -0.01183468139F, 0.005121175784F};
  return gelu_by_polynomial(d, x, 4.6F, kPhi);
}

}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
