#include "kernels/roi_align.h"

#include <cmath>
#include <numeric>

#include "kernel_test.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::kernels::test {
namespace {

using spatialmamba::test::as_double;
using spatialmamba::test::golden;

/// [N, C, H, W] -> [N, H, W, C]
template <typename T>
std::vector<T> channels_last(const Tensor& tensor) {
  const std::vector<double> planes = as_double(tensor);
  const std::int64_t channels = tensor.shape()[1];
  const std::int64_t pixels = tensor.shape()[2] * tensor.shape()[3];
  std::vector<T> tokens(planes.size());
  for (std::int64_t i = 0; i < std::ssize(planes); ++i) {
    const std::int64_t image = i / channels / pixels;
    tokens[static_cast<std::size_t>((image * pixels + i % pixels) * channels + i / pixels % channels)] =
        static_cast<T>(planes[static_cast<std::size_t>(i)]);
  }
  return tokens;
}

/// One bilinear sample, straight from the header.
double sample(const std::vector<double>& plane, std::int64_t height, std::int64_t width, double y, double x) {
  if (y < -1.0 || y > static_cast<double>(height) || x < -1.0 || x > static_cast<double>(width)) return 0.0;
  const auto split = [](double at, std::int64_t cells) {
    at = std::min(std::max(at, 0.0), static_cast<double>(cells - 1));
    const auto low = static_cast<std::int64_t>(at);
    return std::tuple(low, std::min(low + 1, cells - 1), at - static_cast<double>(low));
  };
  const auto [y0, y1, dy] = split(y, height);
  const auto [x0, x1, dx] = split(x, width);
  const auto at = [&](std::int64_t row, std::int64_t column) {
    return plane[static_cast<std::size_t>(row * width + column)];
  };
  return (1 - dy) * ((1 - dx) * at(y0, x0) + dx * at(y0, x1)) +
         dy * ((1 - dx) * at(y1, x0) + dx * at(y1, x1));
}

/// The mean of a bin's samples for every chosen box, bin and channel.
std::vector<double> reference(const RoiAlign<double>& roi, std::int64_t boxes,
                              const std::vector<double>& features) {
  std::vector<double> pooled(static_cast<std::size_t>(boxes * roi.size * roi.size * roi.channels));
  for (const std::int64_t r : roi.chosen) {
    const double* box = roi.boxes + 5 * r;
    const double offset = roi.aligned ? 0.5 : 0.0;
    const double least = roi.aligned ? 0.0 : 1.0;
    const double left = box[1] * roi.scale - offset;
    const double top = box[2] * roi.scale - offset;
    const double bin_w = std::max((box[3] - box[1]) * roi.scale, least) / static_cast<double>(roi.size);
    const double bin_h = std::max((box[4] - box[2]) * roi.scale, least) / static_cast<double>(roi.size);
    const auto samples = [&](double bin) {
      return roi.sampling_ratio > 0 ? static_cast<double>(roi.sampling_ratio) : std::ceil(bin);
    };
    for (std::int64_t c = 0; c < roi.channels; ++c) {
      std::vector<double> plane;
      for (std::int64_t i = 0; i < roi.height * roi.width; ++i) {
        const std::int64_t image = static_cast<std::int64_t>(box[0]) * roi.height * roi.width;
        plane.push_back(features[static_cast<std::size_t>((image + i) * roi.channels + c)]);
      }
      for (std::int64_t bin = 0; bin < roi.size * roi.size; ++bin) {
        double sum = 0.0;
        for (double i = 0; i < samples(bin_h); ++i) {
          for (double j = 0; j < samples(bin_w); ++j) {
            const double y = top + bin_h * (static_cast<double>(bin / roi.size) + (i + 0.5) / samples(bin_h));
            const double x =
                left + bin_w * (static_cast<double>(bin % roi.size) + (j + 0.5) / samples(bin_w));
            sum += sample(plane, roi.height, roi.width, y, x);
          }
        }
        pooled[static_cast<std::size_t>((r * roi.size * roi.size + bin) * roi.channels + c)] =
            sum / std::max(samples(bin_h) * samples(bin_w), 1.0);
      }
    }
  }
  return pooled;
}

struct Case {
  std::int64_t channels;
  std::int64_t size;
  std::int64_t sampling_ratio;
  bool aligned;
};

const Case kCases[] = {
    {1, 7, 0, true}, {5, 3, 2, true}, {33, 2, 0, true}, {130, 7, 0, false}, {64, 14, 0, true}};

/// Boxes on maps of 9 x 12 cells at scale 1/4: ordinary, outside, huge, without extent.
const std::vector<double> kBoxes = {0, 3, 5, 30, 28, 1,  -20, -30, 20, 12, 1,   40, 30, 90,  70,  0,   9,  9,
                                    9, 9, 1, 0,  0,  48, 36,  0,   5,  5,  5.5, 30, 1,  200, 200, 300, 210};

template <typename T>
class RoiAlignTest : public testing::Test {};
TYPED_TEST_SUITE(RoiAlignTest, Precisions);

TYPED_TEST(RoiAlignTest, MatchesReferenceOnEveryTarget) {
  using T = TypeParam;
  const std::vector<std::int64_t> chosen = {0, 1, 2, 4, 5, 6, 3};
  for (const Case& one : kCases) {
    SCOPED_TRACE(testing::Message() << one.channels << " channels, " << one.size << " bins");
    const auto features = random_values<T>(2 * 9 * 12 * one.channels, 1);
    const std::vector<T> boxes(kBoxes.begin(), kBoxes.end());
    RoiAlign<T> roi{2,      9,       12,       one.channels,       boxes.data(),
                    chosen, T{0.25}, one.size, one.sampling_ratio, one.aligned};
    const RoiAlign<double> wide{2,      9,    12,       one.channels,       kBoxes.data(),
                                chosen, 0.25, one.size, one.sampling_ratio, one.aligned};
    const std::vector<double> expected = reference(wide, 7, widened(features));
    for_every_target([&](Isa isa, const ParallelFor& parallel) {
      std::vector<T> pooled(expected.size());
      roi_align_forward(roi, features.data(), pooled.data(), isa, parallel);
      expect_close("pooled", pooled, expected);
      // The backward pass is the transpose of the forward pass: <dpooled, pool(f)> = <spread(dpooled), f>.
      const auto dpooled = random_values<T>(std::ssize(pooled), 2);
      std::vector<T> dfeatures(features.size());
      roi_align_backward(roi, dpooled.data(), dfeatures.data(), isa, parallel);
      const double above = std::inner_product(expected.begin(), expected.end(), dpooled.begin(), 0.0);
      const double below = std::inner_product(features.begin(), features.end(), dfeatures.begin(), 0.0);
      EXPECT_NEAR(above, below, kTolerance<T> * static_cast<double>(expected.size()));
    });
  }
}

TEST(RoiAlignGradient, EqualsFiniteDifferences) {
  const std::vector<std::int64_t> chosen = {0, 1, 2, 4, 5};
  std::vector<double> features = random_values<double>(2 * 9 * 12 * 3, 1);
  const RoiAlign<double> roi{2, 9, 12, 3, kBoxes.data(), chosen, 0.25, 7};
  const auto dpooled = random_values<double>(7 * 49 * 3, 2);
  std::vector<double> gradient(features.size());
  roi_align_backward(roi, dpooled.data(), gradient.data(), default_isa(), {});
  expect_finite_differences("dfeatures", features, gradient, [&] {
    std::vector<double> pooled(dpooled.size());
    roi_align_forward(roi, features.data(), pooled.data(), default_isa(), {});
    return std::inner_product(pooled.begin(), pooled.end(), dpooled.begin(), 0.0);
  });
}

TEST(RoiAlignGolden, EqualsTheReferenceImplementation) {
  const TensorMap tensors = read_safetensors(golden("detection/components/roi_align.safetensors")).tensors;
  const Tensor& input = tensors.at("input");
  const Tensor& table = tensors.at("rois");
  const std::vector<float> boxes = table.values<float>();
  std::vector<std::int64_t> all(static_cast<std::size_t>(table.shape()[0]));
  std::iota(all.begin(), all.end(), 0);
  const auto features = channels_last<float>(input);
  RoiAlign<float> roi{
      input.shape()[0], input.shape()[2], input.shape()[3], input.shape()[1], boxes.data(), all, 0.25F};
  constexpr double kGoldenTolerance = 1e-5;
  int compared = 0;
  for (const auto& [name, expected] : tensors) {
    if (!name.starts_with("out")) continue;
    SCOPED_TRACE(name);
    roi.size = expected.shape()[2];
    roi.aligned = name.find("not_aligned") == std::string::npos;
    roi.sampling_ratio = name.find("sampling2") == std::string::npos ? 0 : 2;
    for (const Isa isa : supported_isas()) {
      std::vector<float> pooled(static_cast<std::size_t>(expected.numel()));
      roi_align_forward(roi, features.data(), pooled.data(), isa, {});
      expect_close("pooled", pooled, widened(channels_last<float>(expected)), kGoldenTolerance);
    }
    ++compared;
    const std::string size = name.substr(3);
    const Tensor* dfeatures = tensors.find("grad_in" + size);
    if (dfeatures == nullptr) continue;
    const auto dpooled = channels_last<float>(tensors.at("grad_out" + size));
    std::vector<float> gradient(features.size());
    roi_align_backward(roi, dpooled.data(), gradient.data(), default_isa(), {});
    expect_close("dfeatures", gradient, widened(channels_last<float>(*dfeatures)), kGoldenTolerance);
  }
  EXPECT_GT(compared, 0);
}

TEST(RoiAlignCheck, RefusesBoxesThatMakeNoSense) {
  const std::vector<std::int64_t> first = {0};
  const std::vector<float> map(12);
  std::vector<float> pooled(49);
  const auto pool = [&](std::vector<float> box) {
    const RoiAlign<float> roi{1, 3, 4, 1, box.data(), first, 1.0F, 7};
    roi_align_forward(roi, map.data(), pooled.data(), default_isa(), {});
  };
  EXPECT_NO_THROW(pool({0, 0, 0, 1, 1}));
  EXPECT_THROW(pool({1, 0, 0, 1, 1}), Error);
  EXPECT_THROW(pool({-1, 0, 0, 1, 1}), Error);
  EXPECT_THROW(pool({0, 2, 0, 1, 1}), Error);
  EXPECT_THROW(pool({0, 0, 0, 1e30F, 1}), Error);
  EXPECT_THROW(pool({0, 0, 0, std::nanf(""), 1}), Error);
}

}  // namespace
}  // namespace spatialmamba::kernels::test
