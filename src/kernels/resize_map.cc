#include "kernels/resize_map.h"

#include <algorithm>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/resize_map.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

void resize_row(const MapView& map, std::int64_t out_height, std::int64_t out_width, std::int64_t row,
                bool add, float* out) {
  const Neighbours y = neighbours_of(row, map.height, out_height);
  const float* above = map.data + y.first * map.width * map.channels;
  const float* below = map.data + y.second * map.width * map.channels;
  for (std::int64_t i = 0; i < out_width; ++i, out += map.channels) {
    const Neighbours x = neighbours_of(i, map.width, out_width);
    const std::int64_t left = x.first * map.channels;
    const std::int64_t right = x.second * map.channels;
    for_vectors<float>(0, map.channels, [&](auto d, std::int64_t c) HWY_ATTR {
      const auto share_x = hn::Set(d, x.share);
      const auto rest_x = hn::Set(d, 1.0F - x.share);
      const auto upper = hn::MulAdd(share_x, hn::LoadU(d, above + right + c),
                                    hn::Mul(rest_x, hn::LoadU(d, above + left + c)));
      const auto lower = hn::MulAdd(share_x, hn::LoadU(d, below + right + c),
                                    hn::Mul(rest_x, hn::LoadU(d, below + left + c)));
      auto value = hn::MulAdd(hn::Set(d, y.share), lower, hn::Mul(hn::Set(d, 1.0F - y.share), upper));
      if (add) value = hn::Add(value, hn::LoadU(d, out + c));
      hn::StoreU(value, d, out + c);
    });
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {

void resize_map_row(const MapView& map, std::int64_t out_height, std::int64_t out_width, std::int64_t row,
                    bool add, float* out, Isa isa) {
  SPATIALMAMBA_CHOOSE(isa, resize_row)(map, out_height, out_width, row, add, out);
}

}  // namespace spatialmamba::kernels
#endif
