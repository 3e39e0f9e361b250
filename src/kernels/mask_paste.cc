#include "kernels/mask_paste.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/mask_paste.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/vector_math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

/// out[i] = first[i] · a + second[i] · b
void blend_rows(const float* first, const float* second, float a, float b, std::int64_t n, float* out) {
  for_vectors<float>(0, n, [&](auto d, std::int64_t i) HWY_ATTR {
    hn::StoreU(
        hn::MulAdd(hn::LoadU(d, first + i), hn::Set(d, a), hn::Mul(hn::LoadU(d, second + i), hn::Set(d, b))),
        d, out + i);
  });
}

/// out[x] = row[cell[x]] · (1 - share[x]) + row[cell[x] + 1] · share[x]
void stretch_row(const float* row, const std::int32_t* cell, const float* share, std::int64_t n, float* out) {
  for_vectors<float>(0, n, [&](auto d, std::int64_t x) HWY_ATTR {
    const hn::RebindToSigned<decltype(d)> di;
    const auto index = hn::LoadU(di, cell + x);
    const auto low = hn::GatherIndex(d, row, index);
    const auto high = hn::GatherIndex(d, row + 1, index);
    hn::StoreU(hn::MulAdd(hn::Sub(high, low), hn::LoadU(d, share + x), low), d, out + x);
  });
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

/// Pixels [begin, end) around the side [low, high] of a box that lie in a picture.
std::pair<std::int64_t, std::int64_t> pixels_around(float low, float high, std::int64_t length) {
  const auto limit = static_cast<float>(length);
  const auto begin = static_cast<std::int64_t>(std::clamp(std::floor(low) - 1.0F, 0.0F, limit));
  const auto end = static_cast<std::int64_t>(std::clamp(std::ceil(high) + 1.0F, 0.0F, limit));
  return {begin, std::max(begin, end)};
}

/// For each pixel of a side the two cells between whose centres it lies. Cells are counted from the zero in
/// front of the mask.
struct Places {
  std::vector<std::int32_t> cell;
  std::vector<float> share;  ///< of the cell behind it

  Places(std::int64_t begin, std::int64_t end, float low, float high, std::int64_t size)
      : cell(static_cast<std::size_t>(end - begin)), share(cell.size()) {
    const auto cells = static_cast<float>(size);
    for (std::size_t i = 0; i < cell.size(); ++i) {
      // In the coordinates of the sampling grid, [-1, 1] over the box, as the reference rounds them.
      float at =
          (static_cast<float>(begin + static_cast<std::int64_t>(i)) + 0.5F - low) / (high - low) * 2.0F -
          1.0F;
      if (!std::isfinite(at)) at = 0.0F;
      const float position = std::clamp(((at + 1.0F) * cells - 1.0F) / 2.0F, -1.0F, cells);
      const float below = std::floor(position);
      cell[i] = static_cast<std::int32_t>(below) + 1;
      share[i] = position - below;
    }
  }
};

}  // namespace

PastedMask paste_mask(std::span<const float> mask, std::int64_t size, const std::array<float, 4>& box,
                      std::int64_t picture_height, std::int64_t picture_width, Isa isa) {
  if (std::ssize(mask) != size * size) fail("a mask of {}x{} has {} values", size, size, mask.size());
  for (const float side : box) {
    if (!std::isfinite(side)) fail("the box of a mask is not finite");
  }
  const auto blend = SPATIALMAMBA_CHOOSE(isa, blend_rows);
  const auto stretch = SPATIALMAMBA_CHOOSE(isa, stretch_row);
  PastedMask out;
  const auto [left, right] = pixels_around(box[0], box[2], picture_width);
  const auto [top, bottom] = pixels_around(box[1], box[3], picture_height);
  out.left = left;
  out.top = top;
  out.width = right - left;
  out.height = bottom - top;
  out.values.resize(static_cast<std::size_t>(out.width * out.height));
  if (out.values.empty()) return out;

  // The mask with a border of zeros, two wide behind it: what lies outside fades to zero within one cell.
  const std::int64_t stride = size + 3;
  std::vector<float> framed(static_cast<std::size_t>(stride * stride));
  for (std::int64_t y = 0; y < size; ++y) {
    std::copy_n(mask.data() + y * size, size, framed.data() + (y + 1) * stride + 1);
  }
  const Places across(left, right, box[0], box[2], size);
  const Places down(top, bottom, box[1], box[3], size);
  std::vector<float> row(static_cast<std::size_t>(stride));
  for (std::int64_t y = 0; y < out.height; ++y) {
    const auto i = static_cast<std::size_t>(y);
    const float* first = framed.data() + down.cell[i] * stride;
    blend(first, first + stride, 1.0F - down.share[i], down.share[i], stride, row.data());
    stretch(row.data(), across.cell.data(), across.share.data(), out.width,
            out.values.data() + y * out.width);
  }
  return out;
}

}  // namespace spatialmamba::kernels
#endif
