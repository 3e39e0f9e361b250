#include "kernels/upsampled_taps.h"

#include "kernels/resize_map.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/upsampled_taps.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/fast_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

// Two pixels of the source and their weights.
struct Pair {
  const float* first;
  const float* second;
  float first_weight;
  float second_weight;
};

void resize_taps_row(const float* mixed, std::int64_t width, std::int64_t channels, std::int64_t out_width,
                     float* out) {
  constexpr std::int64_t kKernel = 3;
  for (std::int64_t x = 0; x < out_width; ++x, out += channels) {
    Pair pairs[kKernel];
    std::int64_t count = 0;
    for (std::int64_t j = 0; j < kKernel; ++j) {
      const std::int64_t at = x + j - 1;
      if (at < 0 || at >= out_width) continue;
      const Neighbours n = neighbours_of(at, width, out_width);
      const auto pixel = [&](std::int64_t i) { return mixed + (i * kKernel * kKernel + j) * channels; };
      pairs[count++] = {pixel(n.first), pixel(n.second), 1.0F - n.share, n.share};
    }
    for (std::int64_t i = 0; i < kKernel; ++i) {
      const std::int64_t tap = i * kKernel * channels;
      float* to = out + i * out_width * channels;
      for_vectors<float>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
        auto sum = hn::Zero(d);
        for (std::int64_t j = 0; j < count; ++j) {
          const Pair& pair = pairs[j];
          sum = hn::MulAdd(hn::Set(d, pair.first_weight), hn::LoadU(d, pair.first + tap + c), sum);
          sum = hn::MulAdd(hn::Set(d, pair.second_weight), hn::LoadU(d, pair.second + tap + c), sum);
        }
        hn::StoreU(sum, d, to + c);
      });
    }
  }
}

template <bool kRelu>
void add_rows_as(std::span<const WeightedRow> rows, std::int64_t count, std::int64_t channels, float* out,
                 std::int64_t stride) {
  for (std::int64_t x = 0; x < count; ++x, out += stride) {
    for_vectors<float>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
      auto sum = hn::LoadU(d, out + c);
      for (const WeightedRow& row : rows) {
        sum = hn::MulAdd(hn::Set(d, row.weight), hn::LoadU(d, row.data + x * channels + c), sum);
      }
      if constexpr (kRelu) sum = relu(d, sum);
      hn::StoreU(sum, d, out + c);
    });
  }
}

void add_rows(std::span<const WeightedRow> rows, std::int64_t count, std::int64_t channels, bool relu,
              float* out, std::int64_t stride) {
  const auto add = relu ? &add_rows_as<true> : &add_rows_as<false>;
  add(rows, count, channels, out, stride);
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {

void resize_taps(const float* mixed, std::int64_t width, std::int64_t channels, std::int64_t out_width,
                 float* out, Isa isa) {
  SPATIALMAMBA_CHOOSE(isa, resize_taps_row)(mixed, width, channels, out_width, out);
}

void add_weighted_rows(std::span<const WeightedRow> rows, std::int64_t count, std::int64_t channels,
                       bool relu, float* out, std::int64_t stride, Isa isa) {
  SPATIALMAMBA_CHOOSE(isa, add_rows)(rows, count, channels, relu, out, stride);
}

}  // namespace spatialmamba::kernels
#endif
