// The operators against the numbers of the reference implementation.
#include <array>

#include "kernel_test.h"
#include "kernels/sasf.h"
#include "kernels/selective_scan.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::kernels::test {
namespace {

using spatialmamba::test::as_double;

/// The tensors of one case of a golden file.
class GoldenCase {
 public:
  GoldenCase(const TensorMap& tensors, std::string name) : tensors_(tensors), name_(std::move(name)) {}

  const Shape& shape(const std::string& key) const { return tensors_.at(name_ + "/" + key).shape(); }

  template <typename T>
  std::vector<T> values(const std::string& key) const {
    const std::vector<double> wide = as_double(tensors_.at(name_ + "/" + key));
    return {wide.begin(), wide.end()};
  }

  /// [N, C, pixels] as [N, pixels, C].
  template <typename T>
  std::vector<T> channels_last(const std::string& key) const {
    const std::vector<T> planes = values<T>(key);
    const std::int64_t images = shape(key)[0];
    const std::int64_t channels = shape(key)[1];
    const std::int64_t pixels = static_cast<std::int64_t>(planes.size()) / images / channels;
    std::vector<T> tokens(planes.size());
    for (std::int64_t i = 0; i < images * channels * pixels; ++i) {
      const std::int64_t image = i / channels / pixels;
      tokens[static_cast<std::size_t>((image * pixels + i % pixels) * channels + i / pixels % channels)] =
          planes[static_cast<std::size_t>(i)];
    }
    return tokens;
  }

  /// Compares with the double-precision truth, where the golden set holds it; false where it does not.
  template <typename T>
  bool matches(const std::string& key, const std::vector<T>& actual, bool tokens) const {
    const std::string full = "f64/" + key;
    if (!tensors_.contains(name_ + "/" + full)) return false;
    expect_close(key.c_str(), actual, tokens ? channels_last<double>(full) : values<double>(full));
    return true;
  }

 private:
  const TensorMap& tensors_;
  std::string name_;
};

template <typename T>
class Golden : public testing::Test {};
TYPED_TEST_SUITE(Golden, Precisions);

template <typename T>
bool check_scan(const GoldenCase& golden, Isa isa, const ParallelFor& parallel) {
  const auto delta = golden.channels_last<T>("delta");
  const auto u = golden.channels_last<T>("u");
  const auto dh = golden.channels_last<T>("dh");
  const auto b = golden.values<T>("B");
  const auto a_log = golden.values<T>("A_log");
  const auto bias = golden.values<T>("delta_bias");
  const Shape& shape = golden.shape("u");
  const ScanInput<T> input{.images = shape[0],
                           .length = shape[2],
                           .channels = shape[1],
                           .delta = delta.data(),
                           .delta_bias = bias.data(),
                           .a_log = a_log.data(),
                           .u = u.data(),
                           .u_stride = shape[1],
                           .b = b.data(),
                           .b_stride = 1};
  std::vector<T> h(u.size()), du(u.size()), ddelta(u.size()), db(b.size()), da_log(bias.size()),
      dbias(bias.size());
  selective_scan_forward(input, h.data(), isa, parallel);
  selective_scan_backward(input,
                          {.h = h.data(),
                           .dh = dh.data(),
                           .du = du.data(),
                           .du_stride = shape[1],
                           .db = db.data(),
                           .db_stride = 1,
                           .da_log = da_log.data(),
                           .ddelta_bias = dbias.data(),
                           .ddelta = ddelta.data()},
                          isa, parallel);
  bool any = golden.matches("h", h, true);
  any |= golden.matches("du", du, true);
  any |= golden.matches("ddelta", ddelta, true);
  any |= golden.matches("dB", db, false);
  // The first token has no state before it, so that one token alone gives A no gradient.
  if (shape[2] > 1) any |= golden.matches("dA_log", da_log, false);
  any |= golden.matches("ddelta_bias", dbias, false);
  return any;
}

TYPED_TEST(Golden, SelectiveScan) {
  const Weights file =
      read_safetensors(spatialmamba::test::golden("classification/ops/selective_scan.safetensors"));
  bool any = false;
  for (const std::string& name : spatialmamba::test::cases_of(file.tensors)) {
    SCOPED_TRACE(name);
    for_every_target([&](Isa isa, const ParallelFor& parallel) {
      any |= check_scan<TypeParam>(GoldenCase(file.tensors, name), isa, parallel);
    });
  }
  EXPECT_TRUE(any);
}

template <typename T>
bool check_fusion(const GoldenCase& golden, Isa isa, const ParallelFor& parallel) {
  const auto h = golden.channels_last<T>("h");
  const auto dout = golden.channels_last<T>("dout");
  const auto alpha = golden.values<T>("alpha");
  const std::array<std::string, 3> names = {"kernel_3", "kernel_3_1", "kernel_3_2"};
  std::array<std::vector<T>, 3> kernels;
  std::array<std::vector<T>, 3> dkernels;
  std::array<const T*, 3> kernel_views{};
  std::array<T*, 3> dkernel_views{};
  for (std::size_t i = 0; i < names.size(); ++i) {
    kernels[i] = golden.values<T>(names[i]);
    dkernels[i].resize(kernels[i].size());
    kernel_views[i] = kernels[i].data();
    dkernel_views[i] = dkernels[i].data();
  }
  const Shape& shape = golden.shape("h");
  std::vector<T> taps(static_cast<std::size_t>(kSasfTaps * shape[1]));
  sasf_merge(shape[1], kernel_views, alpha.data(), taps.data());
  const SasfInput<T> input{.images = shape[0],
                           .height = shape[2],
                           .width = shape[3],
                           .channels = shape[1],
                           .h = h.data(),
                           .taps = taps.data()};
  std::vector<T> out(h.size()), dh(h.size()), dtaps(taps.size()), dalpha(alpha.size());
  sasf_forward(input, out.data(), isa, parallel);
  sasf_backward(input, {.dout = dout.data(), .dh = dh.data(), .dtaps = dtaps.data()}, isa, parallel);
  sasf_unmerge(shape[1], kernel_views, alpha.data(), dtaps.data(), dkernel_views, dalpha.data());
  bool any = golden.matches("out_train", out, true);
  any |= golden.matches("out_eval", out, true);
  any |= golden.matches("dh", dh, true);
  any |= golden.matches("dalpha", dalpha, false);
  for (std::size_t i = 0; i < names.size(); ++i) any |= golden.matches("d" + names[i], dkernels[i], false);
  return any;
}

TYPED_TEST(Golden, StateFusion) {
  const Weights file =
      read_safetensors(spatialmamba::test::golden("classification/ops/state_fusion.safetensors"));
  bool any = false;
  for (const std::string& name : spatialmamba::test::cases_of(file.tensors)) {
    SCOPED_TRACE(name);
    for_every_target([&](Isa isa, const ParallelFor& parallel) {
      any |= check_fusion<TypeParam>(GoldenCase(file.tensors, name), isa, parallel);
    });
  }
  EXPECT_TRUE(any);
}

}  // namespace
}  // namespace spatialmamba::kernels::test
