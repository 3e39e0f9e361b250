#include "kernels/depthwise_packed.h"

#include <algorithm>

#include "kernels/packed_plane.h"
#include "kernels/partial_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/depthwise_packed.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/depthwise_activation-inl.h"
#include "kernels/dispatch.h"
#include "kernels/stencil_rows-inl.h"

#ifndef SPATIALMAMBA_KERNELS_DEPTHWISE_PACKED_SHARED
#define SPATIALMAMBA_KERNELS_DEPTHWISE_PACKED_SHARED
namespace spatialmamba::kernels {
namespace {

constexpr int kTaps = 9;

/// Memory that the items of one thread use in turn.
template <typename T>
struct DepthwiseScratch {
  PackedPlane<T> x;
  PackedPlane<T> gradient;  ///< in front of the activation

  DepthwiseScratch(const DepthwiseInput<T>& in, bool backward)
      : x(in.height, in.width, 1), gradient(backward ? in.height : 0, in.width, 1) {}
};

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

// The convolution of a block of pixels; kSign -1: with the weights in reverse order.
template <int kSign, class D, typename T>
HWY_INLINE BlockSums<D> convolve_block(D d, const T* weights, std::int64_t channels, PackedPlane<T>& in,
                                       std::int64_t y, std::int64_t x, hn::Vec<D> start) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  const auto weight = [&](std::int64_t k) HWY_ATTR {
    return hn::LoadU(d, weights + (kSign > 0 ? k : kTaps - 1 - k) * channels);
  };
  BlockSums<D> sums;
  for (auto& sum : sums.at) sum = start;
  const std::int64_t last = std::min<std::int64_t>(y + 1, in.height() - 1);
  for (std::int64_t row = std::max<std::int64_t>(y - 1, 0); row <= last; ++row) {
    const std::int64_t k = 3 * (row - y + 1);
    add_row<1>(d, in.row(row, lanes) + x * lanes, weight(k), weight(k + 1), weight(k + 2), sums);
  }
  return sums;
}

template <class D, typename T>
HWY_INLINE void pack_image(D d, const DepthwiseInput<T>& in, std::int64_t image, std::int64_t c,
                           PackedPlane<T>& x) {
  const T* from = in.x + image * in.height * in.width * in.x_stride + c;
  pack_plane(d, from, in.x_stride, x, Border::zero);
}

template <typename T>
void convolve_item(const DepthwiseInput<T>& in, std::int64_t image, RowRange channels,
                   DepthwiseScratch<T>& scratch, T* y) {
  const std::int64_t first = image * in.height * in.width;
  for_vectors<T>(channels.begin, channels.end, [&](auto d, std::int64_t c) HWY_ATTR {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    pack_image(d, in, image, c, scratch.x);
    const auto bias = load_or_zero(d, in.bias, c);
    for (std::int64_t row = 0; row < in.height; ++row) {
      const T* centre = scratch.x.row(row, lanes);
      T* out = y + (first + row * in.width) * in.channels + c;
      for (std::int64_t x0 = 0; x0 < in.width; x0 += kStencilBlock) {
        const auto sums = convolve_block<1>(d, in.weights + c, in.channels, scratch.x, row, x0, bias);
        store_block(sums, x0, in.width, [&](std::int64_t x, auto sum) HWY_ATTR {
          auto value = activate(d, in.activation, sum);
          if (in.residual) value = hn::Add(value, hn::LoadU(d, centre + x * lanes));
          hn::StoreU(value, d, out + x * in.channels);
        });
      }
    }
  });
}

// Packs the gradient in front of the activation, which is computed again.
template <class D, typename T>
HWY_INLINE void pack_gradient(D d, const DepthwiseInput<T>& in, const T* dy, std::int64_t c,
                              DepthwiseScratch<T>& scratch) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  pack_plane(d, dy, in.channels, scratch.gradient, Border::zero);
  if (in.activation == Activation::none) return;
  const auto bias = load_or_zero(d, in.bias, c);
  for (std::int64_t row = 0; row < in.height; ++row) {
    T* gradient = scratch.gradient.row(row, lanes);
    for (std::int64_t x0 = 0; x0 < in.width; x0 += kStencilBlock) {
      const auto sums = convolve_block<1>(d, in.weights + c, in.channels, scratch.x, row, x0, bias);
      store_block(sums, x0, in.width, [&](std::int64_t x, auto pre) HWY_ATTR {
        T* g = gradient + x * lanes;
        hn::StoreU(through_activation(d, in.activation, pre, hn::LoadU(d, g)), d, g);
      });
    }
  }
}

template <class D, typename T>
HWY_INLINE void differentiate_input(D d, const DepthwiseInput<T>& in, const T* weights,
                                    PackedPlane<T>& gradient, const T* dy, std::int64_t dx_stride, T* dx) {
  for (std::int64_t row = 0; row < in.height; ++row) {
    for (std::int64_t x0 = 0; x0 < in.width; x0 += kStencilBlock) {
      const auto sums = convolve_block<-1>(d, weights, in.channels, gradient, row, x0, hn::Zero(d));
      store_block(sums, x0, in.width, [&](std::int64_t x, auto sum) HWY_ATTR {
        const std::int64_t pixel = row * in.width + x;
        auto value = sum;
        if (in.residual) value = hn::Add(value, hn::LoadU(d, dy + pixel * in.channels));
        hn::StoreU(value, d, dx + pixel * dx_stride);
      });
    }
  }
}

template <class D, typename T>
HWY_INLINE void differentiate_weights(D d, DepthwiseScratch<T>& scratch, std::int64_t channels, T* dweights,
                                      T* dbias) {
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<D> sums[kTaps];
  for (auto& sum : sums) sum = hn::Zero(d);
  auto bias = hn::Zero(d);
  const std::int64_t last = scratch.x.height() - 1;
  for (std::int64_t y = 0; y <= last; ++y) {
    const T* gradient = scratch.gradient.row(y, lanes);
    for (std::int64_t x = 0; x < scratch.x.width(); x += kStencilBlock) {
      const BlockSums<D> g = load_block(d, gradient + x * lanes);
      for (const auto& v : g.at) bias = hn::Add(bias, v);
      if (y > 0) add_products<1>(d, g, scratch.x.row(y - 1, lanes) + x * lanes, sums[0], sums[1], sums[2]);
      add_products<1>(d, g, scratch.x.row(y, lanes) + x * lanes, sums[3], sums[4], sums[5]);
      if (y < last) add_products<1>(d, g, scratch.x.row(y + 1, lanes) + x * lanes, sums[6], sums[7], sums[8]);
    }
  }
  for (int k = 0; k < kTaps; ++k) hn::StoreU(sums[k], d, dweights + k * channels);
  hn::StoreU(bias, d, dbias);
}

// sums: dweights [9][C], then dbias [C].
template <typename T>
void differentiate_item(const DepthwiseInput<T>& in, const DepthwiseGradient<T>& grad, std::int64_t image,
                        RowRange channels, DepthwiseScratch<T>& scratch, T* sums) {
  const std::int64_t first = image * in.height * in.width;
  for_vectors<T>(channels.begin, channels.end, [&](auto d, std::int64_t c) HWY_ATTR {
    const T* dy = grad.dy + first * in.channels + c;
    pack_image(d, in, image, c, scratch.x);
    pack_gradient(d, in, dy, c, scratch);
    differentiate_input(d, in, in.weights + c, scratch.gradient, dy, grad.dx_stride,
                        grad.dx + first * grad.dx_stride + c);
    differentiate_weights(d, scratch, in.channels, sums + c, sums + kTaps * in.channels + c);
  });
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {

template <typename T>
void depthwise_forward_packed(const DepthwiseInput<T>& input, T* y, Isa isa, const ParallelFor& parallel) {
  const auto convolve = SPATIALMAMBA_CHOOSE(isa, convolve_item<T>);
  const ImageBlocks items(input.images, input.channels);
  parallel(items.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    DepthwiseScratch<T> scratch(input, false);
    for (std::int64_t i = begin; i < end; ++i) convolve(input, items.image(i), items.channels(i), scratch, y);
  });
}

template <typename T>
void depthwise_backward_packed(const DepthwiseInput<T>& input, const DepthwiseGradient<T>& gradient, Isa isa,
                               const ParallelFor& parallel) {
  const auto differentiate = SPATIALMAMBA_CHOOSE(isa, differentiate_item<T>);
  const ImageBlocks items(input.images, input.channels);
  PartialSums<T> sums(input.images, (kTaps + 1) * input.channels);
  parallel(items.count(), 1, [&](std::int64_t begin, std::int64_t end) {
    DepthwiseScratch<T> scratch(input, true);
    for (std::int64_t i = begin; i < end; ++i) {
      differentiate(input, gradient, items.image(i), items.channels(i), scratch, sums[items.image(i)]);
    }
  });
  sums.sum_to(0, kTaps * input.channels, gradient.dweights);
  if (gradient.dbias != nullptr) sums.sum_to(kTaps * input.channels, input.channels, gradient.dbias);
}

template void depthwise_forward_packed(const DepthwiseInput<float>&, float*, Isa, const ParallelFor&);
template void depthwise_forward_packed(const DepthwiseInput<double>&, double*, Isa, const ParallelFor&);
template void depthwise_backward_packed(const DepthwiseInput<float>&, const DepthwiseGradient<float>&, Isa,
                                        const ParallelFor&);
template void depthwise_backward_packed(const DepthwiseInput<double>&, const DepthwiseGradient<double>&, Isa,
                                        const ParallelFor&);

}  // namespace spatialmamba::kernels
#endif
