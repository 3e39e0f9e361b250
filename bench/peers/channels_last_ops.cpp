// What a careful PyTorch user writes in C++ to run Spatial-Mamba on a CPU: the state scan and the state
// fusion for channels-last tokens, vectorised over channels, float32 or bfloat16 in memory and float32 in
// between.
#include <ATen/Parallel.h>
#include <torch/library.h>
#include <torch/types.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <vector>

namespace {

using at::BFloat16;
using at::Tensor;

constexpr int kLanes = 16;
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef uint32_t Words __attribute__((vector_size(4 * kLanes)));
typedef uint16_t Halves __attribute__((vector_size(2 * kLanes)));

template <typename To, typename From>
To load_as(const From* from) {
  To to;
  std::memcpy(&to, from, sizeof(to));
  return to;
}

Floats load(const float* p) {
  return load_as<Floats>(p);
}
Floats load(const BFloat16* p) {
  return (Floats)(__builtin_convertvector(load_as<Halves>(p), Words) << 16);
}

void store(float* p, Floats v) {
  std::memcpy(p, &v, sizeof(v));
}
void store(BFloat16* p, Floats v) {
  const Words bits = (Words)v;
  const Halves rounded = __builtin_convertvector((bits + 0x7fff + ((bits >> 16) & 1)) >> 16, Halves);
  std::memcpy(p, &rounded, sizeof(rounded));
}

// The scan: d = softplus(delta + bias), h_t = exp(d A) h_{t-1} + d B_t u_t.

constexpr int kScanBlock = 2 * kLanes;  // channels that one task carries down the sequence
constexpr float kSoftplusThreshold = 20.0f;

struct ScanSizes {
  int64_t batch, length, channels;
};

template <typename T>
void scan_block(const T* u, const T* delta, const float* a, const float* b, const float* bias, T* h,
                const ScanSizes& s) {
  alignas(64) float state[kScanBlock] = {}, x[kScanBlock], step[kScanBlock];
  for (int64_t t = 0; t < s.length; ++t, u += s.channels, delta += s.channels, h += s.channels) {
    for (int i = 0; i < kScanBlock; i += kLanes) {
      store(step + i, load(delta + i));
      store(x + i, load(u + i));
    }
#pragma omp simd
    for (int i = 0; i < kScanBlock; ++i) {
      const float raw = step[i] + bias[i];
      const float d = raw > kSoftplusThreshold ? raw : std::log(1.0f + std::exp(raw));
      state[i] = std::exp(d * a[i]) * state[i] + d * b[t] * x[i];
    }
    for (int i = 0; i < kScanBlock; i += kLanes) store(h + i, load(state + i));
  }
}

template <typename T>
void scan_all(const Tensor& u, const Tensor& delta, const Tensor& a, const Tensor& b, const Tensor& bias,
              Tensor& h) {
  const ScanSizes s{u.size(0), u.size(1), u.size(2)};
  const int64_t blocks = s.channels / kScanBlock;
  at::parallel_for(0, s.batch * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t n = task / blocks, c = task % blocks * kScanBlock, first = n * s.length * s.channels + c;
      scan_block(u.const_data_ptr<T>() + first, delta.const_data_ptr<T>() + first,
                 a.const_data_ptr<float>() + c, b.const_data_ptr<float>() + n * s.length,
                 bias.const_data_ptr<float>() + c, h.mutable_data_ptr<T>() + first, s);
    }
  });
}

// u, delta [N, L, D]; a, bias [D] and b [N, L] in float32. Returns h like u.
Tensor scan(const Tensor& u, const Tensor& delta, const Tensor& a, const Tensor& b, const Tensor& bias) {
  TORCH_CHECK(u.size(2) % kScanBlock == 0 && u.is_contiguous() && delta.is_contiguous() && b.is_contiguous());
  auto h = at::empty_like(u);
  (u.scalar_type() == at::kFloat ? scan_all<float> : scan_all<BFloat16>)(u, delta, a, b, bias, h);
  return h;
}

// The fusion: three dilated 3x3 stencils over clamped borders, merged into 25 taps.

constexpr std::array<int, 7> kOffsets = {-5, -3, -1, 0, 1, 3, 5};
constexpr int kReach = 5, kTaps = 25;

struct MapSizes {
  int64_t batch, height, width, channels;
};

// Index into kOffsets of the taps' row and column: all pairs of one dilation, and the shared centre once.
constexpr auto kTapTable = [] {
  std::array<std::array<int, 2>, kTaps> taps{};
  int count = 0;
  for (int row = 0; row < 7; ++row) {
    for (int column = 0; column < 7; ++column) {
      const int r = kOffsets[row] < 0 ? -kOffsets[row] : kOffsets[row],
                c = kOffsets[column] < 0 ? -kOffsets[column] : kOffsets[column];
      if (r == c || r == 0 || c == 0) taps[count++] = {row, column};
    }
  }
  return taps;
}();

// One row of the output, 16 channels at a time, whose 25 weights stay in registers along the row.
template <typename T>
void fuse_row(const std::array<const T*, 7>& rows, const float* weight, T* out, const MapSizes& s,
              const int64_t* columns) {
  for (int64_t c = 0; c < s.channels; c += kLanes) {
    Floats w[kTaps];
    for (int k = 0; k < kTaps; ++k) w[k] = load(weight + k * s.channels + c);
    for (int64_t x = 0; x < s.width; ++x) {
      int64_t at[7];
      for (int k = 0; k < 7; ++k) at[k] = columns[x + kReach + kOffsets[k]] + c;
      Floats even = {}, odd = {};
#pragma GCC unroll 25
      for (int k = 0; k < kTaps; ++k)
        (k % 2 ? odd : even) += w[k] * load(rows[kTapTable[k][0]] + at[kTapTable[k][1]]);
      store(out + x * s.channels + c, even + odd);
    }
  }
}

template <typename T>
void fuse_all(const Tensor& h, const Tensor& weight, Tensor& out) {
  const MapSizes s{h.size(0), h.size(1), h.size(2), h.size(3)};
  std::vector<int64_t> columns(s.width + 2 * kReach);
  for (int64_t x = 0; x < s.width + 2 * kReach; ++x)
    columns[x] = std::clamp<int64_t>(x - kReach, 0, s.width - 1) * s.channels;
  const int64_t row_size = s.width * s.channels;
  at::parallel_for(0, s.batch * s.height, 1, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const int64_t first = line / s.height * s.height, y = line - first;
      std::array<const T*, 7> rows;
      for (int k = 0; k < 7; ++k) {
        rows[k] = h.const_data_ptr<T>() +
                  (first + std::clamp<int64_t>(y + kOffsets[k], 0, s.height - 1)) * row_size;
      }
      fuse_row(rows, weight.const_data_ptr<float>(), out.mutable_data_ptr<T>() + line * row_size, s,
               columns.data());
    }
  });
}

// h [N, H, W, C]; weight [25, C] float32, the taps row by row.
Tensor fuse(const Tensor& h, const Tensor& weight) {
  TORCH_CHECK(h.size(3) % kLanes == 0 && h.is_contiguous() && weight.is_contiguous());
  auto out = at::empty_like(h);
  (h.scalar_type() == at::kFloat ? fuse_all<float> : fuse_all<BFloat16>)(h, weight, out);
  return out;
}

}  // namespace

TORCH_LIBRARY(spatialmamba_peer, m) {
  m.def("scan(Tensor u, Tensor delta, Tensor a, Tensor b, Tensor bias) -> Tensor");
  m.def("fuse(Tensor h, Tensor weight) -> Tensor");
}

TORCH_LIBRARY_IMPL(spatialmamba_peer, CPU, m) {
  m.impl("scan", scan);
  m.impl("fuse", fuse);
}

TORCH_LIBRARY_IMPL(spatialmamba_peer, Meta, m) {
  m.impl("scan", [](const Tensor& u, const Tensor&, const Tensor&, const Tensor&, const Tensor&) {
    return at::empty_like(u);
  });
  m.impl("fuse", [](const Tensor& h, const Tensor&) { return at::empty_like(h); });
}
