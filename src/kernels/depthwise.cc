#include "kernels/depthwise.h"

#include <algorithm>

#include "base/error.h"
#include "kernels/aligned_vector.h"
#include "kernels/depthwise_packed.h"
#include "kernels/partial_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/depthwise.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/depthwise_activation-inl.h"
#include "kernels/dispatch.h"

#ifndef SPATIALMAMBA_KERNELS_DEPTHWISE_SHARED
#define SPATIALMAMBA_KERNELS_DEPTHWISE_SHARED
namespace spatialmamba::kernels {
namespace {

constexpr int kTaps = 9;

/// Rows of a channels-last image, of which those from `first_row` on are in memory.
template <typename T>
struct Plane {
  const T* data;
  std::int64_t first_row;
  std::int64_t height;
  std::int64_t width;
  std::int64_t stride;  ///< from one pixel to the next

  const T* pixel(std::int64_t y, std::int64_t x) const {
    return data + ((y - first_row) * width + x) * stride;
  }
  bool has_row(std::int64_t y) const { return y >= 0 && y < height; }
  bool has_column(std::int64_t x) const { return x >= 0 && x < width; }
};

template <typename T>
Plane<T> image_of(const DepthwiseInput<T>& in, std::int64_t image) {
  return {in.x + image * in.height * in.width * in.x_stride, 0, in.height, in.width, in.x_stride};
}

/// What one item of the backward pass owns: input rows of one image, and the output rows that begin there.
struct BackwardItem {
  std::int64_t image;
  RowRange in_rows;
};

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

// The products that make up one pixel, where some of the nine fall outside.
template <typename T>
struct PixelTaps {
  const T* source[kTaps];
  const T* weight[kTaps];
  int count = 0;

  void add(const T* from, const T* by) {
    source[count] = from;
    weight[count] = by;
    ++count;
  }
  template <class D>
  HWY_INLINE hn::Vec<D> sum(D d, std::int64_t c, hn::Vec<D> start) const {
    auto total = start;
    for (int i = 0; i < count; ++i) {
      total = hn::MulAdd(hn::LoadU(d, source[i] + c), hn::LoadU(d, weight[i] + c), total);
    }
    return total;
  }
};

template <typename T>
PixelTaps<T> forward_taps(const Plane<T>& in, const T* weights, std::int64_t channels, std::int64_t y,
                          std::int64_t x) {
  PixelTaps<T> taps;
  for (int k = 0; k < kTaps; ++k) {
    const std::int64_t iy = y + k / 3 - 1;
    const std::int64_t ix = x + k % 3 - 1;
    if (in.has_row(iy) && in.has_column(ix)) taps.add(in.pixel(iy, ix), weights + k * channels);
  }
  return taps;
}

// One row of the convolution; store(d, sum, x, c) takes each result.
template <typename T, typename Store>
HWY_INLINE void convolve_row(const DepthwiseInput<T>& in, const Plane<T>& image, std::int64_t y,
                             const Store& store) {
  for (std::int64_t x = 0; x < in.out_width(); ++x) {
    const PixelTaps<T> taps = forward_taps(image, in.weights, in.channels, y * in.stride, x * in.stride);
    for_vectors<T>(0, in.channels, [&](auto d, std::int64_t c) HWY_ATTR {
      store(d, taps.sum(d, c, load_or_zero(d, in.bias, c)), x, c);
    });
  }
}

// Output rows, counted over all images.
template <typename T>
void convolve_rows(const DepthwiseInput<T>& in, T* y, RowRange rows) {
  const std::int64_t out_height = in.out_height();
  const std::int64_t out_width = in.out_width();
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const Plane<T> image = image_of(in, row / out_height);
    const std::int64_t oy = row % out_height;
    T* out = y + row * out_width * in.channels;
    convolve_row(in, image, oy, [&](auto d, auto sum, std::int64_t x, std::int64_t c) HWY_ATTR {
      hn::StoreU(activate(d, in.activation, sum), d, out + x * in.channels + c);
    });
  }
}

// Gradient before the activation, for the output rows [rows.begin, rows.end) of one image.
template <typename T>
void differentiate_activation(const DepthwiseInput<T>& in, const T* dy, const Plane<T>& image, RowRange rows,
                              T* dpre) {
  const std::int64_t out_width = in.out_width();
  for (std::int64_t oy = rows.begin; oy < rows.end; ++oy) {
    T* out = dpre + (oy - rows.begin) * out_width * in.channels;
    const T* g = dy + oy * out_width * in.channels;
    convolve_row(in, image, oy, [&](auto d, auto sum, std::int64_t x, std::int64_t c) HWY_ATTR {
      const std::int64_t i = x * in.channels + c;
      hn::StoreU(through_activation(d, in.activation, sum, hn::LoadU(d, g + i)), d, out + i);
    });
  }
}

// The outputs that input pixel (y, x) went into.
template <typename T>
PixelTaps<T> backward_taps(const Plane<T>& dpre, const T* weights, std::int64_t channels, std::int64_t stride,
                           std::int64_t y, std::int64_t x) {
  PixelTaps<T> taps;
  for (int k = 0; k < kTaps; ++k) {
    const std::int64_t oy = y + 1 - k / 3;
    const std::int64_t ox = x + 1 - k % 3;
    if (oy % stride != 0 || ox % stride != 0) continue;
    if (!dpre.has_row(oy / stride) || !dpre.has_column(ox / stride)) continue;
    taps.add(dpre.pixel(oy / stride, ox / stride), weights + k * channels);
  }
  return taps;
}

template <typename T>
void differentiate_input_row(const DepthwiseInput<T>& in, const Plane<T>& dpre, std::int64_t y, T* dx,
                             std::int64_t dx_stride) {
  for (std::int64_t x = 0; x < in.width; ++x) {
    const PixelTaps<T> taps = backward_taps(dpre, in.weights, in.channels, in.stride, y, x);
    for_vectors<T>(0, in.channels, [&](auto d, std::int64_t c) HWY_ATTR {
      hn::StoreU(taps.sum(d, c, hn::Zero(d)), d, dx + x * dx_stride + c);
    });
  }
}

// Adds the sums over one output row of dpre · x for the taps of kernel row ky.
template <class D, typename T>
HWY_INLINE void differentiate_weights_row(D d, const T* dpre, const T* row, std::int64_t channels,
                                          std::int64_t row_stride, std::int64_t stride, std::int64_t width,
                                          std::int64_t out_width, T* dweights) {
  auto w0 = hn::LoadU(d, dweights);
  auto w1 = hn::LoadU(d, dweights + channels);
  auto w2 = hn::LoadU(d, dweights + 2 * channels);
  for (std::int64_t x = 0; x < out_width; ++x) {
    const auto g = hn::LoadU(d, dpre + x * channels);
    const T* centre = row + x * stride * row_stride;
    if (x > 0) w0 = hn::MulAdd(g, hn::LoadU(d, centre - row_stride), w0);
    w1 = hn::MulAdd(g, hn::LoadU(d, centre), w1);
    if (x * stride + 1 < width) w2 = hn::MulAdd(g, hn::LoadU(d, centre + row_stride), w2);
  }
  hn::StoreU(w0, d, dweights);
  hn::StoreU(w1, d, dweights + channels);
  hn::StoreU(w2, d, dweights + 2 * channels);
}

template <typename T>
void differentiate_weights(const DepthwiseInput<T>& in, const Plane<T>& image, const Plane<T>& dpre,
                           RowRange rows, T* dweights, T* dbias) {
  for (std::int64_t oy = rows.begin; oy < rows.end; ++oy) {
    const T* g = dpre.pixel(oy, 0);
    for_vectors<T>(0, in.channels, [&](auto d, std::int64_t c) HWY_ATTR {
      auto bias = hn::LoadU(d, dbias + c);
      for (std::int64_t x = 0; x < dpre.width; ++x)
        bias = hn::Add(bias, hn::LoadU(d, g + x * dpre.stride + c));
      hn::StoreU(bias, d, dbias + c);
      for (int ky = 0; ky < 3; ++ky) {
        const std::int64_t iy = oy * in.stride + ky - 1;
        if (!image.has_row(iy)) continue;
        differentiate_weights_row(d, g + c, image.pixel(iy, 0) + c, in.channels, in.x_stride, in.stride,
                                  in.width, dpre.width, dweights + 3 * ky * in.channels + c);
      }
    });
  }
}

// sums: dweights [9][C], then dbias [C].
template <typename T>
void differentiate_item(const DepthwiseInput<T>& in, const DepthwiseGradient<T>& grad, BackwardItem item,
                        T* sums) {
  const std::int64_t s = in.stride;
  const RowRange own = {(item.in_rows.begin + s - 1) / s, (item.in_rows.end + s - 1) / s};
  // Rows that the gradients of the owned input rows read.
  const RowRange read = {std::max<std::int64_t>((item.in_rows.begin + s - 2) / s, 0),
                         std::min(item.in_rows.end / s + 1, in.out_height())};
  const std::int64_t out_width = in.out_width();
  const Plane<T> image = image_of(in, item.image);
  const T* dy = grad.dy + item.image * in.out_height() * out_width * in.channels;

  Plane<T> dpre{dy, 0, in.out_height(), out_width, in.channels};
  AlignedVector<T> scratch;
  if (in.activation != Activation::none) {
    scratch.resize(static_cast<std::size_t>((read.end - read.begin) * out_width * in.channels));
    differentiate_activation(in, dy, image, read, scratch.data());
    dpre.data = scratch.data();
    dpre.first_row = read.begin;
  }
  for (std::int64_t y = item.in_rows.begin; y < item.in_rows.end; ++y) {
    T* dx = grad.dx + (item.image * in.height + y) * in.width * grad.dx_stride;
    differentiate_input_row(in, dpre, y, dx, grad.dx_stride);
  }
  differentiate_weights(in, image, dpre, own, sums, sums + kTaps * in.channels);
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

template <typename T>
void check(const DepthwiseInput<T>& input) {
  if (input.stride != 1 && input.stride != 2)
    fail("depthwise convolution of stride {}, expected 1 or 2", input.stride);
  if (input.residual && input.stride != 1) fail("depthwise convolution of stride 2 cannot add its input");
}

// Rows of an image that one item of the backward pass takes: so many that the rows computed twice at the
// seams weigh little, but not so many that a small batch feeds few threads.
std::int64_t rows_per_item(std::int64_t images, std::int64_t height) {
  constexpr std::int64_t kItems = 16;
  return std::clamp<std::int64_t>(images * height / kItems, 2, 14);
}

}  // namespace

template <typename T>
void depthwise_forward(const DepthwiseInput<T>& input, T* y, Isa isa, const ParallelFor& parallel) {
  check(input);
  if (input.stride == 1) return depthwise_forward_packed(input, y, isa, parallel);
  const auto convolve = SPATIALMAMBA_CHOOSE(isa, convolve_rows<T>);
  parallel(input.images * input.out_height(), grain_for(input.out_width() * input.channels),
           [&](std::int64_t begin, std::int64_t end) {
             convolve(input, y, {begin, end});
           });
}

template <typename T>
void depthwise_backward(const DepthwiseInput<T>& input, const DepthwiseGradient<T>& gradient, Isa isa,
                        const ParallelFor& parallel) {
  check(input);
  if (input.stride == 1) return depthwise_backward_packed(input, gradient, isa, parallel);
  const auto differentiate = SPATIALMAMBA_CHOOSE(isa, differentiate_item<T>);
  const RowChunks chunks(input.height, rows_per_item(input.images, input.height), input.height);
  const std::int64_t items = input.images * chunks.count();
  PartialSums<T> sums(items, (kTaps + 1) * input.channels);
  parallel(items, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      differentiate(input, gradient, {i / chunks.count(), chunks[i % chunks.count()]}, sums[i]);
    }
  });
  sums.sum_to(0, kTaps * input.channels, gradient.dweights);
  if (gradient.dbias != nullptr) sums.sum_to(kTaps * input.channels, input.channels, gradient.dbias);
}

template <typename T>
void depthwise_weights_from_torch(std::int64_t channels, const T* torch_weights, T* weights) {
  for (std::int64_t c = 0; c < channels; ++c) {
    for (int k = 0; k < kTaps; ++k) weights[k * channels + c] = torch_weights[c * kTaps + k];
  }
}

template <typename T>
void depthwise_weights_to_torch(std::int64_t channels, const T* weights, T* torch_weights) {
  for (std::int64_t c = 0; c < channels; ++c) {
    for (int k = 0; k < kTaps; ++k) torch_weights[c * kTaps + k] = weights[k * channels + c];
  }
}

template void depthwise_forward(const DepthwiseInput<float>&, float*, Isa, const ParallelFor&);
template void depthwise_forward(const DepthwiseInput<double>&, double*, Isa, const ParallelFor&);
template void depthwise_backward(const DepthwiseInput<float>&, const DepthwiseGradient<float>&, Isa,
                                 const ParallelFor&);
template void depthwise_backward(const DepthwiseInput<double>&, const DepthwiseGradient<double>&, Isa,
                                 const ParallelFor&);
template void depthwise_weights_from_torch(std::int64_t, const float*, float*);
template void depthwise_weights_from_torch(std::int64_t, const double*, double*);
template void depthwise_weights_to_torch(std::int64_t, const float*, float*);
template void depthwise_weights_to_torch(std::int64_t, const double*, double*);

}  // namespace spatialmamba::kernels
#endif
