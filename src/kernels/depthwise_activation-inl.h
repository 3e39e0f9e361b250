// Activations behind a depthwise convolution, compiled per instruction set: include after
// hwy/foreach_target.h and hwy/highway.h.

#if defined(SPATIALMAMBA_DEPTHWISE_ACTIVATION_TOGGLE) == defined(HWY_TARGET_TOGGLE)
#ifdef SPATIALMAMBA_DEPTHWISE_ACTIVATION_TOGGLE
#undef SPATIALMAMBA_DEPTHWISE_ACTIVATION_TOGGLE
#else
#define SPATIALMAMBA_DEPTHWISE_ACTIVATION_TOGGLE
#endif

#include "kernels/depthwise.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {

template <class D>
HWY_INLINE hn::Vec<D> activate(D d, Activation activation, hn::Vec<D> v) {
  if (activation == Activation::silu) return silu(d, v);
  if (activation == Activation::relu) return hn::Max(hn::Zero(d), v);
  return v;
}

/// The gradient in front of the activation.
template <class D>
HWY_INLINE hn::Vec<D> through_activation(D d, Activation activation, hn::Vec<D> pre, hn::Vec<D> dy) {
  if (activation == Activation::silu) return hn::Mul(dy, silu_with_slope(d, pre).slope);
  if (activation == Activation::relu) return hn::IfThenElseZero(hn::Gt(pre, hn::Zero(d)), dy);
  return dy;
}

template <class D, typename T>
HWY_INLINE hn::Vec<D> load_or_zero(D d, const T* values, std::int64_t c) {
  return values == nullptr ? hn::Zero(d) : hn::LoadU(d, values + c);
}

}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
