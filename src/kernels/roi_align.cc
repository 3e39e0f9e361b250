#include "kernels/roi_align.h"

#include <cmath>

#include "base/error.h"
#include "kernels/partial_sums.h"
#include "kernels/roi_taps.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/roi_align.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

/// The taps of one box in both directions.
template <typename T>
struct BoxTaps {
  RoiTaps<T> rows;
  RoiTaps<T> columns;
  std::int64_t image = 0;
  T samples = 1;  ///< of a bin

  void assign(const RoiAlign<T>& roi, std::int64_t index) {
    const T* box = roi.boxes + 5 * index;
    image = static_cast<std::int64_t>(box[0]);
    const T offset = roi.aligned ? static_cast<T>(0.5) : T{0};
    const T left = box[1] * roi.scale - offset;
    const T top = box[2] * roi.scale - offset;
    T width = box[3] * roi.scale - offset - left;
    T height = box[4] * roi.scale - offset - top;
    if (!roi.aligned) {
      width = std::max(width, T{1});
      height = std::max(height, T{1});
    }
    const T bin_width = width / static_cast<T>(roi.size);
    const T bin_height = height / static_cast<T>(roi.size);
    const bool fixed = roi.sampling_ratio > 0;
    const auto across = fixed ? roi.sampling_ratio : static_cast<std::int64_t>(std::ceil(bin_width));
    const auto down = fixed ? roi.sampling_ratio : static_cast<std::int64_t>(std::ceil(bin_height));
    samples = static_cast<T>(std::max<std::int64_t>(across * down, 1));
    columns.assign(left, bin_width, roi.size, across, roi.width);
    rows.assign(top, bin_height, roi.size, down, roi.height);
  }
};

/// Calls body(tag, c, count) for blocks of `count` vectors (4 or 1) that cover the channels [begin, end).
template <typename T, typename Body>
HWY_INLINE void for_channel_blocks(std::int64_t begin, std::int64_t end, const Body& body) {
  const hn::ScalableTag<T> d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t c = begin;
  for (; c + 4 * lanes <= end; c += 4 * lanes) body(d, c, std::integral_constant<int, 4>());
  for (; c + lanes <= end; c += lanes) body(d, c, std::integral_constant<int, 1>());
  const hn::CappedTag<T, 1> single;
  for (; c < end; ++c) body(single, c, std::integral_constant<int, 1>());
}

/// One bin: out[c] = (sum over taps of weight · image[row, column, c]) / samples. The division comes last, as
/// in the reference: a bin that is exactly half covered by a bitmap gives exactly one half.
template <typename T>
void pool_bin(const RoiAlign<T>& roi, const BoxTaps<T>& taps, std::int64_t y, std::int64_t x, const T* image,
              T* out) {
  for_channel_blocks<T>(0, roi.channels, [&](auto d, std::int64_t c, auto count) HWY_ATTR {
    const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
    auto sum0 = hn::Zero(d);
    auto sum1 = hn::Zero(d);
    auto sum2 = hn::Zero(d);
    auto sum3 = hn::Zero(d);
    for (auto row = taps.rows.begin(y); row != taps.rows.end(y); ++row) {
      const T* line = image + row->cell * roi.width * roi.channels + c;
      for (auto column = taps.columns.begin(x); column != taps.columns.end(x); ++column) {
        const T* cell = line + column->cell * roi.channels;
        const auto weight = hn::Set(d, row->weight * column->weight);
        sum0 = hn::MulAdd(weight, hn::LoadU(d, cell), sum0);
        if constexpr (count() == 4) {
          sum1 = hn::MulAdd(weight, hn::LoadU(d, cell + lanes), sum1);
          sum2 = hn::MulAdd(weight, hn::LoadU(d, cell + 2 * lanes), sum2);
          sum3 = hn::MulAdd(weight, hn::LoadU(d, cell + 3 * lanes), sum3);
        }
      }
    }
    const auto samples = hn::Set(d, taps.samples);
    hn::StoreU(hn::Div(sum0, samples), d, out + c);
    if constexpr (count() == 4) {
      hn::StoreU(hn::Div(sum1, samples), d, out + c + lanes);
      hn::StoreU(hn::Div(sum2, samples), d, out + c + 2 * lanes);
      hn::StoreU(hn::Div(sum3, samples), d, out + c + 3 * lanes);
    }
  });
}

template <typename T>
void pool_boxes(const RoiAlign<T>& roi, const T* features, T* pooled, RowRange range) {
  BoxTaps<T> taps;
  for (std::int64_t i = range.begin; i < range.end; ++i) {
    const std::int64_t index = roi.chosen[static_cast<std::size_t>(i)];
    taps.assign(roi, index);
    const T* image = features + taps.image * roi.height * roi.width * roi.channels;
    T* out = pooled + index * roi.size * roi.size * roi.channels;
    for (std::int64_t bin = 0; bin < roi.size * roi.size; ++bin) {
      pool_bin(roi, taps, bin / roi.size, bin % roi.size, image, out + bin * roi.channels);
    }
  }
}

/// Adds what all boxes give to the channels of `range`: boxes overlap, channels do not.
template <typename T>
void spread_channels(const RoiAlign<T>& roi, const T* dpooled, T* dfeatures, RowRange range) {
  BoxTaps<T> taps;
  for (const std::int64_t index : roi.chosen) {
    taps.assign(roi, index);
    T* image = dfeatures + taps.image * roi.height * roi.width * roi.channels;
    const T* bins = dpooled + index * roi.size * roi.size * roi.channels;
    for (std::int64_t bin = 0; bin < roi.size * roi.size; ++bin) {
      const T* in = bins + bin * roi.channels;
      const std::int64_t x = bin % roi.size;
      const std::int64_t y = bin / roi.size;
      for (auto row = taps.rows.begin(y); row != taps.rows.end(y); ++row) {
        for (auto column = taps.columns.begin(x); column != taps.columns.end(x); ++column) {
          T* cell = image + (row->cell * roi.width + column->cell) * roi.channels;
          const T weight = row->weight * column->weight / taps.samples;
          for_vectors<T>(range.begin, range.end, [&](auto d, std::int64_t c) HWY_ATTR {
            hn::StoreU(hn::MulAdd(hn::Set(d, weight), hn::LoadU(d, in + c), hn::LoadU(d, cell + c)), d,
                       cell + c);
          });
        }
      }
    }
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

constexpr std::int64_t kChannelBlock = 64;  ///< a share of the backward pass
constexpr int kMostCells = 1 << 20;         ///< that a box may span

template <typename T>
void check(const RoiAlign<T>& roi) {
  for (const std::int64_t index : roi.chosen) {
    const T* box = roi.boxes + 5 * index;
    if (!(box[0] >= 0 && box[0] < static_cast<T>(roi.images))) {
      fail("box {} is of image {}, there are {}", index, box[0], roi.images);
    }
    for (int side = 1; side < 5; ++side) {
      if (!std::isfinite(box[side])) fail("box {} is not finite", index);
    }
    if (std::max(std::abs(box[3] - box[1]), std::abs(box[4] - box[2])) * roi.scale > kMostCells) {
      fail("box {} is too large", index);
    }
    if (roi.aligned && (box[3] < box[1] || box[4] < box[2])) fail("box {} ends before it starts", index);
  }
}

}  // namespace

template <typename T>
void roi_align_forward(const RoiAlign<T>& roi, const T* features, T* pooled, Isa isa,
                       const ParallelFor& parallel) {
  check(roi);
  const auto pool = SPATIALMAMBA_CHOOSE(isa, pool_boxes<T>);
  parallel(std::ssize(roi.chosen), 1, [&](std::int64_t begin, std::int64_t end) {
    pool(roi, features, pooled, {begin, end});
  });
}

template <typename T>
void roi_align_backward(const RoiAlign<T>& roi, const T* dpooled, T* dfeatures, Isa isa,
                        const ParallelFor& parallel) {
  check(roi);
  const auto spread = SPATIALMAMBA_CHOOSE(isa, spread_channels<T>);
  const std::int64_t blocks = (roi.channels + kChannelBlock - 1) / kChannelBlock;
  parallel(blocks, 1, [&](std::int64_t begin, std::int64_t end) {
    spread(roi, dpooled, dfeatures, {begin * kChannelBlock, std::min(end * kChannelBlock, roi.channels)});
  });
}

template void roi_align_forward(const RoiAlign<float>&, const float*, float*, Isa, const ParallelFor&);
template void roi_align_forward(const RoiAlign<double>&, const double*, double*, Isa, const ParallelFor&);
template void roi_align_backward(const RoiAlign<float>&, const float*, float*, Isa, const ParallelFor&);
template void roi_align_backward(const RoiAlign<double>&, const double*, double*, Isa, const ParallelFor&);

}  // namespace spatialmamba::kernels
#endif
