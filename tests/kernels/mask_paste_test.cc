#include "kernels/mask_paste.h"

#include <algorithm>
#include <cmath>

#include "kernel_test.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::kernels::test {
namespace {

using spatialmamba::test::golden;

std::vector<double> laid_out(const PastedMask& mask, std::int64_t height, std::int64_t width) {
  std::vector<double> picture(static_cast<std::size_t>(height * width));
  for (std::int64_t i = 0; i < mask.height * mask.width; ++i) {
    const std::int64_t y = mask.top + i / mask.width;
    const std::int64_t x = mask.left + i % mask.width;
    picture[static_cast<std::size_t>(y * width + x)] =
        static_cast<double>(mask.values[static_cast<std::size_t>(i)]);
  }
  return picture;
}

// Bilinear between the centres of the cells, zero outside, in double.
double at(const std::vector<float>& mask, std::int64_t size, double y, double x) {
  const auto cell = [&](double row, double column) {
    const double last = static_cast<double>(size) - 1.0;
    if (row < 0 || column < 0 || row > last || column > last) return 0.0;
    return static_cast<double>(mask[static_cast<std::size_t>(row) * static_cast<std::size_t>(size) +
                                    static_cast<std::size_t>(column)]);
  };
  const double y0 = std::floor(y);
  const double x0 = std::floor(x);
  return (1 - (y - y0)) * ((1 - (x - x0)) * cell(y0, x0) + (x - x0) * cell(y0, x0 + 1)) +
         (y - y0) * ((1 - (x - x0)) * cell(y0 + 1, x0) + (x - x0) * cell(y0 + 1, x0 + 1));
}

TEST(MaskPaste, MatchesReferenceOnEveryTarget) {
  constexpr std::int64_t kSize = 9;
  constexpr std::int64_t kHeight = 40;
  constexpr std::int64_t kWidth = 50;
  const auto mask = random_values<float>(kSize * kSize, 1, 0.0, 1.0);
  for (const std::array<float, 4>& box :
       {std::array<float, 4>{5, 6, 30, 35}, {-10, -4, 20, 70}, {30, 20, 33, 22}}) {
    std::vector<double> expected;
    for (std::int64_t y = 0; y < kHeight; ++y) {
      for (std::int64_t x = 0; x < kWidth; ++x) {
        const auto place = [](std::int64_t pixel, float low, float high) {
          const double share =
              (static_cast<double>(pixel) + 0.5 - static_cast<double>(low)) / static_cast<double>(high - low);
          return share * kSize - 0.5;
        };
        expected.push_back(at(mask, kSize, place(y, box[1], box[3]), place(x, box[0], box[2])));
      }
    }
    for (const Isa isa : supported_isas()) {
      const PastedMask pasted = paste_mask(mask, kSize, box, kHeight, kWidth, isa);
      // Small boxes reach further than the rectangle around them by less than a cell of the mask.
      for (std::int64_t i = 0; i < kHeight * kWidth; ++i) {
        const std::int64_t y = i / kWidth - pasted.top;
        const std::int64_t x = i % kWidth - pasted.left;
        if (y < 0 || y >= pasted.height || x < 0 || x >= pasted.width)
          expected[static_cast<std::size_t>(i)] = 0.0;
      }
      EXPECT_LE(spatialmamba::test::relative_deviation(laid_out(pasted, kHeight, kWidth), expected), 2e-5);
    }
  }
}

TEST(MaskPaste, EqualsTheReferenceImplementation) {
  const TensorMap tensors = read_safetensors(golden("detection/components/masks.safetensors")).tensors;
  const Tensor& masks = tensors.at("paste_masks");
  const Tensor& full = tensors.at("paste_full");
  const std::vector<float> values = masks.values<float>();
  const std::vector<float> boxes = tensors.at("paste_boxes").values<float>();
  const std::vector<double> expected = spatialmamba::test::as_double(full);
  const std::vector<std::uint8_t> above = tensors.at("paste_cpu_ge05").values<std::uint8_t>();
  const std::int64_t size = masks.shape()[3];
  const std::int64_t height = full.shape()[1];
  const std::int64_t width = full.shape()[2];
  std::int64_t different = 0;
  for (std::int64_t i = 0; i < masks.shape()[0]; ++i) {
    const float* box = boxes.data() + 4 * i;
    const auto mask = std::span(values).subspan(static_cast<std::size_t>(i * size * size),
                                                static_cast<std::size_t>(size * size));
    const PastedMask pasted =
        paste_mask(mask, size, {box[0], box[1], box[2], box[3]}, height, width, default_isa());
    const std::vector<double> picture = laid_out(pasted, height, width);
    for (std::int64_t p = 0; p < height * width; ++p) {
      const auto at_all = static_cast<std::size_t>(i * height * width + p);
      const double value = picture[static_cast<std::size_t>(p)];
      if (value != 0.0) {
        EXPECT_NEAR(value, expected[at_all], 1e-4) << "mask " << i << " pixel " << p;
      }
      if ((value >= 0.5) != (above[at_all] != 0)) ++different;
    }
  }
  EXPECT_LE(static_cast<double>(different), 1e-4 * static_cast<double>(above.size()));
}

TEST(MaskPaste, ABoxOutsideGivesNothing) {
  const std::vector<float> mask(16, 1.0F);
  EXPECT_TRUE(paste_mask(mask, 4, {100, 100, 120, 120}, 40, 50, default_isa()).values.empty());
  EXPECT_TRUE(paste_mask(mask, 4, {-50, -50, -20, -20}, 40, 50, default_isa()).values.empty());
  EXPECT_THROW(paste_mask(mask, 4, {0, 0, std::nanf(""), 1}, 40, 50, default_isa()), Error);
  EXPECT_THROW(paste_mask(mask, 5, {0, 0, 1, 1}, 40, 50, default_isa()), Error);
}

}  // namespace
}  // namespace spatialmamba::kernels::test
