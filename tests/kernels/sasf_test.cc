#include "kernels/sasf.h"

#include <algorithm>

#include "kernel_test.h"

namespace spatialmamba::kernels::test {
namespace {

struct Case {
  std::int64_t images, height, width, channels;
  bool output_equation;
};

const Case kCases[] = {{1, 1, 1, 1, false},   {2, 1, 7, 5, true},    {1, 3, 4, 16, false},
                       {2, 13, 17, 19, true}, {1, 40, 12, 3, false}, {1, 7, 31, 33, true},
                       {3, 16, 15, 17, false}};

struct Expected {
  std::vector<double> out, dh, dtaps, dc, dd, dx;
};

std::vector<double> zeros(std::int64_t n) {
  return std::vector<double>(static_cast<std::size_t>(n));
}

template <typename T>
Expected reference(const SasfInput<T>& in, const T* dout) {
  const std::int64_t channels = in.channels;
  const std::int64_t tokens = in.images * in.height * in.width;
  Expected out{zeros(tokens * channels), zeros(tokens * channels), zeros(kSasfTaps * channels), zeros(tokens),
               zeros(channels),          zeros(tokens * channels)};
  for (std::int64_t i = 0; i < tokens * channels; ++i) {
    const std::int64_t c = i % channels;
    const std::int64_t token = i / channels;
    const std::int64_t x = token % in.width;
    const std::int64_t y = token / in.width % in.height;
    const auto visit = [&](auto&& body) {
      for (std::int64_t k = 0; k < kSasfTaps; ++k) {
        const auto [dy, dx] = sasf_offsets()[static_cast<std::size_t>(k)];
        const std::int64_t sy = std::clamp<std::int64_t>(y + dy, 0, in.height - 1);
        const std::int64_t sx = std::clamp<std::int64_t>(x + dx, 0, in.width - 1);
        body(static_cast<std::size_t>(k * channels + c),
             static_cast<std::size_t>(
                 (((token / (in.width * in.height)) * in.height + sy) * in.width + sx) * channels + c));
      }
    };
    double s = 0.0;
    visit([&](std::size_t tap, std::size_t from) {
      s += static_cast<double>(in.taps[tap]) * static_cast<double>(in.h[from]);
    });
    const auto at = static_cast<std::size_t>(i);
    double g = static_cast<double>(dout[i]);
    out.out[at] = s;
    if (in.c != nullptr) {
      const double c_t = static_cast<double>(in.c[token * in.c_stride]);
      const double d = static_cast<double>(in.d[c]);
      const double skip = static_cast<double>(in.x[token * in.x_stride + c]);
      out.out[at] = s * c_t + d * skip;
      out.dc[static_cast<std::size_t>(token)] += g * s;
      out.dd[static_cast<std::size_t>(c)] += g * skip;
      out.dx[at] = g * d;
      g *= c_t;
    }
    visit([&](std::size_t tap, std::size_t from) {
      out.dtaps[tap] += g * static_cast<double>(in.h[from]);
      out.dh[from] += g * static_cast<double>(in.taps[tap]);
    });
  }
  return out;
}

template <typename T>
class Sasf : public testing::Test {};
TYPED_TEST_SUITE(Sasf, Precisions);

TYPED_TEST(Sasf, MatchesReferenceForwardAndBackward) {
  using T = TypeParam;
  for (const auto& [images, height, width, channels, output_equation] : kCases) {
    SCOPED_TRACE(testing::Message() << images << "x" << height << "x" << width << "x" << channels);
    const std::int64_t tokens = images * height * width;
    const std::int64_t x_stride = 2 * channels;
    constexpr std::int64_t kCStride = 6;
    const auto h = random_values<T>(tokens * channels, 1);
    const auto taps = random_values<T>(kSasfTaps * channels, 2);
    const auto c = random_values<T>(tokens * kCStride, 3);
    const auto d = random_values<T>(channels, 4);
    const auto x = random_values<T>(tokens * x_stride, 5);
    const auto dout = random_values<T>(tokens * channels, 6);
    SasfInput<T> input{.images = images,
                       .height = height,
                       .width = width,
                       .channels = channels,
                       .h = h.data(),
                       .taps = taps.data()};
    if (output_equation) {
      input.c = c.data();
      input.c_stride = kCStride;
      input.d = d.data();
      input.x = x.data();
      input.x_stride = x_stride;
    }
    const Expected expected = reference(input, dout.data());
    for_every_target([&](Isa isa, const ParallelFor& parallel) {
      std::vector<T> out(h.size());
      sasf_forward(input, out.data(), isa, parallel);
      expect_close("out", out, expected.out);
      std::vector<T> dh(h.size()), dtaps(taps.size(), T{9}), dc(c.size()), dd(d.size(), T{9}), dx(x.size());
      sasf_backward(input,
                    {.dout = dout.data(),
                     .dh = dh.data(),
                     .dtaps = dtaps.data(),
                     .dc = dc.data(),
                     .dc_stride = kCStride,
                     .dd = dd.data(),
                     .dx = dx.data(),
                     .dx_stride = x_stride},
                    isa, parallel);
      expect_close("dh", dh, expected.dh);
      expect_close("dtaps", dtaps, expected.dtaps);
      if (!output_equation) return;
      expect_close("dc", dense_rows(dc, 1, kCStride), expected.dc);
      expect_close("dd", dd, expected.dd);
      expect_close("dx", dense_rows(dx, channels, x_stride), expected.dx);
    });
  }
}

// The loss sum(weights · fuse(h, merge(kernels, alpha))) and its derivative, each input moved by ± a step.
TEST(SasfGradient, AgreesWithFiniteDifferences) {
  constexpr std::int64_t kChannels = 2;
  for (const auto& [height, width] :
       {std::pair<std::int64_t, std::int64_t>{1, 1}, {1, 7}, {3, 4}, {13, 17}}) {
    SCOPED_TRACE(testing::Message() << height << "x" << width);
    auto h = random_values<double>(height * width * kChannels, 1);
    const auto weights = random_values<double>(height * width * kChannels, 2);
    std::array<std::vector<double>, 3> kernels;
    for (std::size_t i = 0; i < 3; ++i) kernels[i] = random_values<double>(9 * kChannels, 3 + i);
    auto alpha = random_values<double>(3, 7);
    const std::array<const double*, 3> views = {kernels[0].data(), kernels[1].data(), kernels[2].data()};
    std::vector<double> taps(kSasfTaps * kChannels);
    const SasfInput<double> input{.images = 1,
                                  .height = height,
                                  .width = width,
                                  .channels = kChannels,
                                  .h = h.data(),
                                  .taps = taps.data()};
    const auto loss = [&] {
      sasf_merge(kChannels, views, alpha.data(), taps.data());
      std::vector<double> out(h.size());
      sasf_forward(input, out.data(), default_isa(), ParallelFor());
      double sum = 0.0;
      for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * weights[i];
      return sum;
    };
    loss();
    std::vector<double> dh(h.size()), dtaps(taps.size()), dalpha(3);
    std::array<std::vector<double>, 3> dkernels;
    for (auto& d : dkernels) d.resize(9 * kChannels);
    sasf_backward(input, {.dout = weights.data(), .dh = dh.data(), .dtaps = dtaps.data()}, default_isa(),
                  ParallelFor());
    sasf_unmerge(kChannels, views, alpha.data(), dtaps.data(),
                 {dkernels[0].data(), dkernels[1].data(), dkernels[2].data()}, dalpha.data());
    expect_finite_differences("h", h, dh, loss);
    expect_finite_differences("alpha", alpha, dalpha, loss);
    for (std::size_t i = 0; i < 3; ++i) expect_finite_differences("kernel", kernels[i], dkernels[i], loss);
  }
}

}  // namespace
}  // namespace spatialmamba::kernels::test
