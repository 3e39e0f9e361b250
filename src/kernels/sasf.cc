#include "kernels/sasf.h"

#include <algorithm>
#include <vector>

#include "kernels/aligned_vector.h"
#include "kernels/partial_sums.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/sasf.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"
#include "kernels/vector_math-inl.h"

#ifndef SPATIALMAMBA_KERNELS_SASF_SHARED
#define SPATIALMAMBA_KERNELS_SASF_SHARED
namespace spatialmamba::kernels {
namespace {

constexpr auto kOffsets = sasf_offsets();

/// A dense channels-last image, of which the rows from first_row on are in memory.
template <typename T>
struct StateMap {
  const T* data;
  std::int64_t first_row;
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;

  const T* pixel(std::int64_t y, std::int64_t x) const {
    return data + ((y - first_row) * width + x) * channels;
  }
  const T* clamped(std::int64_t y, std::int64_t x) const {
    return pixel(std::clamp<std::int64_t>(y, 0, height - 1), std::clamp<std::int64_t>(x, 0, width - 1));
  }
  /// Whether all taps of the pixels x … x + count - 1 of row y lie inside.
  bool is_interior(std::int64_t y, std::int64_t x, std::int64_t count) const {
    return y >= kSasfReach && y + kSasfReach < height && x >= kSasfReach &&
           x + count - 1 + kSasfReach < width;
  }
};

/// Rows of one image.
struct SasfItem {
  std::int64_t image;
  RowRange rows;
};

/// The products that sum up to one pixel near the border.
template <typename T>
struct TapSum {
  std::vector<const T*> source;
  std::vector<const T*> tap;

  void clear() {
    source.clear();
    tap.clear();
  }
  void add(const T* from, const T* by) {
    source.push_back(from);
    tap.push_back(by);
  }
};

/// The coordinates that an offset of a tap moves to position p, once the result is clamped to [0, size): p -
/// offset inside, and at a border all that the clamp brings there.
inline RowRange reaching(std::int64_t p, int offset, std::int64_t size) {
  const std::int64_t begin = p == 0 ? 0 : p - offset;
  const std::int64_t end = p == size - 1 ? size : p - offset + 1;
  return {std::max<std::int64_t>(begin, 0), std::min(end, size)};
}

}  // namespace
}  // namespace spatialmamba::kernels
#endif

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {

constexpr int kBlock = 4;  // pixels side by side that share the loads of the taps

template <typename T, typename Store>
HWY_INLINE void sum_listed(const TapSum<T>& sum, std::int64_t channels, std::int64_t x, const Store& store) {
  for_vectors<T>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
    auto total = hn::Zero(d);
    for (std::size_t i = 0; i < sum.source.size(); ++i) {
      total = hn::MulAdd(hn::LoadU(d, sum.source[i] + c), hn::LoadU(d, sum.tap[i] + c), total);
    }
    store(d, total, x, c);
  });
}

// kSign 1: the fusion; -1: its transpose, which reads at the opposite offsets.
template <int kSign, typename T, typename Store>
HWY_INLINE void sum_interior(const StateMap<T>& in, const T* taps, std::int64_t y, std::int64_t x,
                             const Store& store) {
  const std::int64_t channels = in.channels;
  const T* centre = in.pixel(y, x);
  std::int64_t offsets[kSasfTaps];
  for (int k = 0; k < kSasfTaps; ++k) {
    const auto [dy, dx] = kOffsets[static_cast<std::size_t>(k)];
    offsets[k] = kSign * (dy * in.width + dx) * channels;
  }
  for_vectors<T>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
    auto s0 = hn::Zero(d);
    auto s1 = hn::Zero(d);
    auto s2 = hn::Zero(d);
    auto s3 = hn::Zero(d);
    for (int k = 0; k < kSasfTaps; ++k) {
      const auto tap = hn::LoadU(d, taps + k * channels + c);
      const T* from = centre + offsets[k] + c;
      s0 = hn::MulAdd(hn::LoadU(d, from), tap, s0);
      s1 = hn::MulAdd(hn::LoadU(d, from + channels), tap, s1);
      s2 = hn::MulAdd(hn::LoadU(d, from + 2 * channels), tap, s2);
      s3 = hn::MulAdd(hn::LoadU(d, from + 3 * channels), tap, s3);
    }
    store(d, s0, x, c);
    store(d, s1, x + 1, c);
    store(d, s2, x + 2, c);
    store(d, s3, x + 3, c);
  });
}

template <typename T>
void list_forward(const StateMap<T>& in, const T* taps, std::int64_t y, std::int64_t x, TapSum<T>& sum) {
  for (int k = 0; k < kSasfTaps; ++k) {
    const auto [dy, dx] = kOffsets[static_cast<std::size_t>(k)];
    sum.add(in.clamped(y + dy, x + dx), taps + k * in.channels);
  }
}

template <typename T>
void list_transposed(const StateMap<T>& in, const T* taps, std::int64_t y, std::int64_t x, TapSum<T>& sum) {
  for (int k = 0; k < kSasfTaps; ++k) {
    const auto [dy, dx] = kOffsets[static_cast<std::size_t>(k)];
    const RowRange ys = reaching(y, dy, in.height);
    const RowRange xs = reaching(x, dx, in.width);
    for (std::int64_t sy = ys.begin; sy < ys.end; ++sy) {
      for (std::int64_t sx = xs.begin; sx < xs.end; ++sx) sum.add(in.pixel(sy, sx), taps + k * in.channels);
    }
  }
}

// One row of the fusion (kSign 1) or of its transpose (-1); store(d, sum, x, c) takes each result.
template <int kSign, typename T, typename Store>
HWY_INLINE void fuse_row(const StateMap<T>& in, const T* taps, std::int64_t y, TapSum<T>& sum,
                         const Store& store) {
  std::int64_t x = 0;
  while (x < in.width) {
    if (in.is_interior(y, x, kBlock)) {
      sum_interior<kSign>(in, taps, y, x, store);
      x += kBlock;
      continue;
    }
    sum.clear();
    if constexpr (kSign > 0) {
      list_forward(in, taps, y, x, sum);
    } else {
      list_transposed(in, taps, y, x, sum);
    }
    sum_listed(sum, in.channels, x, store);
    ++x;
  }
}

template <typename T>
StateMap<T> map_of(const SasfInput<T>& in, const T* data, std::int64_t image) {
  return {data + image * in.height * in.width * in.channels, 0, in.height, in.width, in.channels};
}

// Rows counted over all images.
template <typename T>
void fuse_rows(const SasfInput<T>& in, T* out, RowRange rows) {
  TapSum<T> sum;
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const StateMap<T> h = map_of(in, in.h, row / in.height);
    const std::int64_t token = row * in.width;
    fuse_row<1>(h, in.taps, row % in.height, sum,
                [&](auto d, auto s, std::int64_t x, std::int64_t c) HWY_ATTR {
                  auto y = s;
                  if (in.c != nullptr) {
                    const auto skip =
                        hn::Mul(hn::LoadU(d, in.d + c), hn::LoadU(d, in.x + (token + x) * in.x_stride + c));
                    y = hn::MulAdd(s, hn::Set(d, in.c[(token + x) * in.c_stride]), skip);
                  }
                  hn::StoreU(y, d, out + (token + x) * in.channels + c);
                });
  }
}

constexpr int kGroup = 8;  // taps whose sums stay in registers together

// dtaps of `kCount` taps from `first` on, over one row: dtap[c] += sum over x of ds[x][c] · h[x + offset][c].
template <int kCount, typename T>
HWY_INLINE void differentiate_tap_group(const StateMap<T>& h, const T* ds, std::int64_t y, int first,
                                        T* dtaps) {
  const std::int64_t channels = h.channels;
  const T* rows[kCount];
  std::int64_t shift[kCount];
  for (int i = 0; i < kCount; ++i) {
    const auto [dy, dx] = kOffsets[static_cast<std::size_t>(first + i)];
    rows[i] = h.clamped(y + dy, 0);
    shift[i] = dx;
  }
  const std::int64_t last = h.width - 1;
  for_vectors<T>(0, channels, [&](auto d, std::int64_t c) HWY_ATTR {
    hn::Vec<decltype(d)> sums[kCount];
    for (int i = 0; i < kCount; ++i) sums[i] = hn::LoadU(d, dtaps + (first + i) * channels + c);
    const auto add = [&](std::int64_t x, auto position) HWY_ATTR {
      const auto g = hn::LoadU(d, ds + x * channels + c);
      for (int i = 0; i < kCount; ++i) {
        sums[i] = hn::MulAdd(g, hn::LoadU(d, rows[i] + position(x + shift[i]) * channels + c), sums[i]);
      }
    };
    const auto clamp = [last](std::int64_t x) { return std::clamp<std::int64_t>(x, 0, last); };
    const auto inside = [](std::int64_t x) { return x; };
    const std::int64_t left = std::min<std::int64_t>(kSasfReach, h.width);
    const std::int64_t right = std::max<std::int64_t>(h.width - kSasfReach, left);
    for (std::int64_t x = 0; x < left; ++x) add(x, clamp);
    for (std::int64_t x = left; x < right; ++x) add(x, inside);
    for (std::int64_t x = right; x < h.width; ++x) add(x, clamp);
    for (int i = 0; i < kCount; ++i) hn::StoreU(sums[i], d, dtaps + (first + i) * channels + c);
  });
}

// The output equation backwards, for the rows of one image: ds = dout · C_t to `ds` (rows from `read.begin`
// on).
template <typename T>
void scale_by_c(const SasfInput<T>& in, const T* dout, std::int64_t image, RowRange rows, T* ds) {
  const std::int64_t first = (image * in.height + rows.begin) * in.width;
  for (std::int64_t i = 0; i < (rows.end - rows.begin) * in.width; ++i) {
    const T* from = dout + (first + i) * in.channels;
    const T c_t = in.c[(first + i) * in.c_stride];
    for_vectors<T>(0, in.channels, [&](auto d, std::int64_t c) HWY_ATTR {
      hn::StoreU(hn::Mul(hn::LoadU(d, from + c), hn::Set(d, c_t)), d, ds + i * in.channels + c);
    });
  }
}

// dC_t = sum over c of dout · s (s computed again), dD += dout · x, dx = dout · D for one row.
template <typename T>
void differentiate_output_row(const SasfInput<T>& in, const SasfGradient<T>& grad, const StateMap<T>& h,
                              std::int64_t image, std::int64_t y, TapSum<T>& sum, AlignedVector<T>& s,
                              T* dd) {
  s.resize(static_cast<std::size_t>(in.width * in.channels));
  fuse_row<1>(h, in.taps, y, sum, [&](auto d, auto value, std::int64_t x, std::int64_t c) HWY_ATTR {
    hn::StoreU(value, d, s.data() + x * in.channels + c);
  });
  for (std::int64_t x = 0; x < in.width; ++x) {
    const std::int64_t token = (image * in.height + y) * in.width + x;
    const T* g = grad.dout + token * in.channels;
    const T* states = s.data() + x * in.channels;
    RowSum<T> total;
    for_vectors<T>(0, in.channels, [&](auto d, std::int64_t c) HWY_ATTR {
      const auto dy = hn::LoadU(d, g + c);
      total.add_product(d, dy, hn::LoadU(d, states + c));
      const auto skip = hn::LoadU(d, in.x + token * in.x_stride + c);
      hn::StoreU(hn::MulAdd(dy, skip, hn::LoadU(d, dd + c)), d, dd + c);
      hn::StoreU(hn::Mul(dy, hn::LoadU(d, in.d + c)), d, grad.dx + token * grad.dx_stride + c);
    });
    grad.dc[token * grad.dc_stride] = total.value();
  }
}

// sums: dtaps [25][C], then dD [C].
template <typename T>
void differentiate_item(const SasfInput<T>& in, const SasfGradient<T>& grad, SasfItem item, T* sums) {
  const std::int64_t channels = in.channels;
  const StateMap<T> h = map_of(in, in.h, item.image);
  StateMap<T> ds = map_of(in, grad.dout, item.image);
  TapSum<T> sum;
  AlignedVector<T> scratch;
  AlignedVector<T> states;
  if (in.c != nullptr) {
    const RowRange read = {std::max<std::int64_t>(item.rows.begin - kSasfReach, 0),
                           std::min(item.rows.end + kSasfReach, in.height)};
    scratch.resize(static_cast<std::size_t>((read.end - read.begin) * in.width * channels));
    scale_by_c(in, grad.dout, item.image, read, scratch.data());
    ds.data = scratch.data();
    ds.first_row = read.begin;
    for (std::int64_t y = item.rows.begin; y < item.rows.end; ++y) {
      differentiate_output_row(in, grad, h, item.image, y, sum, states, sums + kSasfTaps * channels);
    }
  }
  for (std::int64_t y = item.rows.begin; y < item.rows.end; ++y) {
    T* dh = grad.dh + (item.image * in.height + y) * in.width * channels;
    fuse_row<-1>(ds, in.taps, y, sum, [&](auto d, auto value, std::int64_t x, std::int64_t c) HWY_ATTR {
      hn::StoreU(value, d, dh + x * channels + c);
    });
    const T* g = ds.pixel(y, 0);
    differentiate_tap_group<kGroup + 1>(h, g, y, 0, sums);
    differentiate_tap_group<kGroup>(h, g, y, kGroup + 1, sums);
    differentiate_tap_group<kGroup>(h, g, y, 2 * kGroup + 1, sums);
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

// Rows of an image that one item of the backward pass takes: few enough for the second-level cache, and so
// many items that a small batch feeds the threads.
std::int64_t rows_per_item(std::int64_t images, std::int64_t height) {
  constexpr std::int64_t kItems = 16;
  return std::clamp<std::int64_t>(images * height / kItems, 1, 14);
}

// Calls body(tap, kernel, position) for the 3 x 9 weights that the taps are made of.
template <typename Body>
void for_each_weight(const Body& body) {
  int outer = 1;
  for (std::size_t i = 0; i < kSasfDilations.size(); ++i) {
    for (int position = 0; position < 9; ++position) body(position == 4 ? 0 : outer++, i, position);
  }
}

}  // namespace

template <typename T>
void sasf_merge(std::int64_t channels, const std::array<const T*, 3>& kernels, const T* alpha, T* taps) {
  std::fill_n(taps, kSasfTaps * channels, T{0});
  for_each_weight([&](int tap, std::size_t i, int position) {
    for (std::int64_t c = 0; c < channels; ++c)
      taps[tap * channels + c] += alpha[i] * kernels[i][c * 9 + position];
  });
}

template <typename T>
void sasf_unmerge(std::int64_t channels, const std::array<const T*, 3>& kernels, const T* alpha,
                  const T* dtaps, const std::array<T*, 3>& dkernels, T* dalpha) {
  std::array<double, 3> sums{};
  for_each_weight([&](int tap, std::size_t i, int position) {
    for (std::int64_t c = 0; c < channels; ++c) {
      const T g = dtaps[tap * channels + c];
      dkernels[i][c * 9 + position] = alpha[i] * g;
      sums[i] += static_cast<double>(g) * static_cast<double>(kernels[i][c * 9 + position]);
    }
  });
  for (std::size_t i = 0; i < sums.size(); ++i) dalpha[i] = static_cast<T>(sums[i]);
}

template <typename T>
void sasf_forward(const SasfInput<T>& input, T* out, Isa isa, const ParallelFor& parallel) {
  const auto fuse = SPATIALMAMBA_CHOOSE(isa, fuse_rows<T>);
  parallel(input.images * input.height, grain_for(input.width * input.channels),
           [&](std::int64_t begin, std::int64_t end) {
             fuse(input, out, {begin, end});
           });
}

template <typename T>
void sasf_backward(const SasfInput<T>& input, const SasfGradient<T>& gradient, Isa isa,
                   const ParallelFor& parallel) {
  const auto differentiate = SPATIALMAMBA_CHOOSE(isa, differentiate_item<T>);
  const RowChunks chunks(input.height, rows_per_item(input.images, input.height), input.height);
  const std::int64_t items = input.images * chunks.count();
  PartialSums<T> sums(items, (kSasfTaps + 1) * input.channels);
  parallel(items, 1, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      differentiate(input, gradient, {i / chunks.count(), chunks[i % chunks.count()]}, sums[i]);
    }
  });
  sums.sum_to(0, kSasfTaps * input.channels, gradient.dtaps);
  if (input.c != nullptr) sums.sum_to(kSasfTaps * input.channels, input.channels, gradient.dd);
}

template void sasf_merge(std::int64_t, const std::array<const float*, 3>&, const float*, float*);
template void sasf_merge(std::int64_t, const std::array<const double*, 3>&, const double*, double*);
template void sasf_unmerge(std::int64_t, const std::array<const float*, 3>&, const float*, const float*,
                           const std::array<float*, 3>&, float*);
template void sasf_unmerge(std::int64_t, const std::array<const double*, 3>&, const double*, const double*,
                           const std::array<double*, 3>&, double*);
template void sasf_forward(const SasfInput<float>&, float*, Isa, const ParallelFor&);
template void sasf_forward(const SasfInput<double>&, double*, Isa, const ParallelFor&);
template void sasf_backward(const SasfInput<float>&, const SasfGradient<float>&, Isa, const ParallelFor&);
template void sasf_backward(const SasfInput<double>&, const SasfGradient<double>&, Isa, const ParallelFor&);

}  // namespace spatialmamba::kernels
#endif
