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

/// K vectors that go through the same computation side by side: a polynomial is a chain of dependent steps,
/// and one chain at a time leaves the processor waiting.
template <class D, int K>
struct Group {
  hn::Vec<D> at[K];

  template <typename Step>
  HWY_INLINE void each(const Step& step) {
#pragma GCC unroll 8
    for (int i = 0; i < K; ++i) at[i] = step(i);
  }
};

/// Horner's scheme, lowest power first.
template <class D, int K, std::size_t kCount>
HWY_INLINE Group<D, K> polynomial(D d, const Group<D, K>& x, const std::array<float, kCount>& coefficients) {
  Group<D, K> sum;
  sum.each([&](int) HWY_ATTR { return hn::Set(d, coefficients[kCount - 1]); });
  for (std::size_t n = kCount - 1; n-- > 0;) {
    const auto coefficient = hn::Set(d, coefficients[n]);
    sum.each([&](int i) HWY_ATTR { return hn::MulAdd(sum.at[i], x.at[i], coefficient); });
  }
  return sum;
}

/// 2^x for x <= 0; smaller than 2^-126 becomes 0 or 2^-126. Relative error 2.5e-7.
template <class D, int K>
HWY_INLINE Group<D, K> fast_exp2_negative(D d, const Group<D, K>& x) {
  // 2^r, |r| <= 1/2, minimax.
  constexpr std::array<float, 6> kExp2 = {1.000000072F,   0.6931469671F,   0.2402211973F,
                                          0.05550713292F, 0.009675541287F, 0.001327646606F};
  const hn::RebindToSigned<D> di;
  const auto rounder = hn::Set(d, 0x1.8p23F);
  const auto lowest = hn::Set(d, -126.0F);
  Group<D, K> shifted;
  Group<D, K> r;
  r.each([&](int i) HWY_ATTR { return hn::Max(lowest, x.at[i]); });
  shifted.each([&](int i) HWY_ATTR { return hn::Add(r.at[i], rounder); });
  r.each([&](int i) HWY_ATTR { return hn::Sub(r.at[i], hn::Sub(shifted.at[i], rounder)); });
  Group<D, K> power = polynomial(d, r, kExp2);
  power.each([&](int i) HWY_ATTR {
    const auto exponent = hn::ShiftLeft<23>(hn::BitCast(di, shifted.at[i]));
    return hn::BitCast(d, hn::Add(hn::BitCast(di, power.at[i]), exponent));
  });
  return power;
}

/// e^-|x|.
template <class D, int K>
HWY_INLINE Group<D, K> fast_exp_of_minus_abs(D d, const Group<D, K>& x) {
  const auto minus_log2e = hn::Set(d, -1.44269504F);
  Group<D, K> scaled;
  scaled.each([&](int i) HWY_ATTR { return hn::Mul(hn::Abs(x.at[i]), minus_log2e); });
  return fast_exp2_negative(d, scaled);
}

/// 1 / x for |x| from 2^-126 to 2^125. Relative error 3e-7.
template <class D, int K>
HWY_INLINE Group<D, K> fast_reciprocal(D d, const Group<D, K>& x) {
  // Each step doubles the bits that are right: 8 of NEON's estimate, at least 11 of the others'.
  constexpr int kSteps = HWY_TARGET == HWY_NEON ? 2 : 1;
  const auto two = hn::Set(d, 2.0F);
  Group<D, K> inverse;
  inverse.each([&](int i) HWY_ATTR { return hn::ApproximateReciprocal(x.at[i]); });
  for (int step = 0; step < kSteps; ++step) {
    inverse.each([&](int i)
                     HWY_ATTR { return hn::Mul(inverse.at[i], hn::NegMulAdd(x.at[i], inverse.at[i], two)); });
  }
  return inverse;
}

/// max(0, x); NaN stays NaN, whatever the instruction set's maximum makes of it.
template <class D>
HWY_INLINE hn::Vec<D> relu(D d, hn::Vec<D> x) {
  return hn::IfThenZeroElse(hn::Lt(x, hn::Zero(d)), x);
}

/// x / (1 + e^-x). Absolute error 4e-7 of max(1, |x|).
template <class D, int K>
HWY_INLINE Group<D, K> fast_silu(D d, const Group<D, K>& x) {
  const auto one = hn::Set(d, 1.0F);
  const Group<D, K> e = fast_exp_of_minus_abs(d, x);
  // 1 / (1 + e) is the logistic function of |x|, that of -|x| is e times as large.
  Group<D, K> y;
  y.each([&](int i) HWY_ATTR { return hn::Add(e.at[i], one); });
  y = fast_reciprocal(d, y);
  y.each([&](int i) HWY_ATTR {
    const auto upper = hn::Mul(x.at[i], y.at[i]);
    return hn::IfThenElse(hn::Lt(x.at[i], hn::Zero(d)), hn::Mul(upper, e.at[i]), upper);
  });
  return y;
}

/// log(1 + e^x). Relative error 5e-7, and 6e-8 |x| more where x < 0: that of rounding an exponent.
template <class D, int K>
HWY_INLINE Group<D, K> fast_softplus(D d, const Group<D, K>& x) {
  // log(1 + e) / e, 0 <= e <= 1, minimax.
  constexpr std::array<float, 8> kLog1p = {0.9999998057F, -0.4999740524F, 0.3327547728F,  -0.2449544794F,
                                           0.1774519909F, -0.1076810938F, 0.04408918265F, -0.008539080516F};
  const Group<D, K> e = fast_exp_of_minus_abs(d, x);
  Group<D, K> y = polynomial(d, e, kLog1p);
  y.each([&](int i) HWY_ATTR { return hn::MulAdd(e.at[i], y.at[i], hn::Max(hn::Zero(d), x.at[i])); });
  return y;
}

/// x Phi(x) with the distribution function of the normal distribution as 1/2 + t P(2 t²/c² - 1), t being x
/// bounded by ±c.
template <class D, int K, std::size_t kCount>
HWY_INLINE Group<D, K> gelu_by_polynomial(D d, const Group<D, K>& x, float bound,
                                          const std::array<float, kCount>& coefficients) {
  const auto low = hn::Set(d, -bound);
  const auto high = hn::Set(d, bound);
  const auto scale = hn::Set(d, 2.0F / (bound * bound));
  const auto one = hn::Set(d, 1.0F);
  const auto half = hn::Set(d, 0.5F);
  Group<D, K> t;
  t.each([&](int i) HWY_ATTR { return hn::Min(high, hn::Max(low, x.at[i])); });
  Group<D, K> s;
  s.each([&](int i) HWY_ATTR { return hn::MulSub(hn::Mul(t.at[i], t.at[i]), scale, one); });
  Group<D, K> y = polynomial(d, s, coefficients);
  y.each([&](int i) HWY_ATTR { return hn::Mul(x.at[i], hn::MulAdd(t.at[i], y.at[i], half)); });
  return y;
}

/// The exact GELU. Absolute error 2e-6 of max(1, |x|).
template <class D, int K>
HWY_INLINE Group<D, K> fast_gelu(D d, const Group<D, K>& x) {
  constexpr std::array<float, 13> kPhi = {
      0.1413637876F,   -0.07029628062F,  0.05152052235F,  -0.0404426073F,  0.03144217188F,
      -0.02326865317F, 0.01640217649F,   -0.01116433812F, 0.006410506329F, -0.002685576305F,
      0.001722803173F, -0.001613264658F, 0.0006087260071F};
  return gelu_by_polynomial(d, x, 5.0F, kPhi);
}

/// The same for results that are rounded to bf16. Absolute error 1.1e-4 of max(1, |x|).
template <class D, int K>
HWY_INLINE Group<D, K> coarse_gelu(D d, const Group<D, K>& x) {
  constexpr std::array<float, 9> kPhi = {0.1535408313F,   -0.07570478617F, 0.05423453877F,
                                         -0.04135396293F, 0.02898167435F,  -0.01617965028F,
                                         0.0118948403F,   -0.01183468139F, 0.005121175784F};
  return gelu_by_polynomial(d, x, 4.6F, kPhi);
}

/// Calls body(tag, group, c): kGroup vectors of channels at c, then single ones, for the channels [0, count).
/// load(tag, c) makes a vector, finish(tag, c, vector) takes what becomes of it.
template <int kGroup, typename Load, typename Body, typename Finish>
HWY_INLINE void for_groups(std::int64_t count, const Load& load, const Body& body, const Finish& finish) {
  using Tag = hn::ScalableTag<float>;
  const Tag d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t c = 0;
  for (; c + kGroup * lanes <= count; c += kGroup * lanes) {
    Group<Tag, kGroup> group;
    group.each([&](int i) HWY_ATTR { return load(d, c + i * lanes); });
    group = body(d, group);
#pragma GCC unroll 8
    for (int i = 0; i < kGroup; ++i) finish(d, c + i * lanes, group.at[i]);
  }
  for_vectors<float>(c, count, [&](auto tag, std::int64_t at) HWY_ATTR {
    Group<decltype(tag), 1> single{{load(tag, at)}};
    single = body(tag, single);
    finish(tag, at, single.at[0]);
  });
}

}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
