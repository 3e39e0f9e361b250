#include "image/transform.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>

#include <fmt/format.h>

#include "image/codec.h"
#include "image/golden_images.h"

namespace spatialmamba::image {
namespace {

using test::crc_of;
using test::eval_facts;
using test::eval_tensors;
using test::golden_photograph;
using test::largest_difference;
using test::names_with;
using test::picture_of;

// What the golden README allows a JPEG decoder.
constexpr int kDecoderLevels = 2;

EvalTransform transform_of(int size) {
  EvalTransform transform;
  transform.format.width = transform.format.height = size;
  return transform;
}

std::vector<int> golden_sizes() {
  std::vector<int> sizes;
  const nlohmann::json facts = eval_facts();
  for (const auto& [size, edge] : facts.at("eval").at("resize_short_edge").items())
    sizes.push_back(std::stoi(size));
  return sizes;
}

TEST(EvalTransform, CropsOfDecodedPixelsAreBitExact) {
  const nlohmann::json facts = eval_facts();
  for (const std::string& name : names_with(eval_tensors(), "decoded_rgb")) {
    const Image decoded = picture_of(eval_tensors().tensors.at(name + "/decoded_rgb"));
    for (const int size : golden_sizes()) {
      const Image actual = eval_crop(decoded, transform_of(size));
      const std::string crop = fmt::format("crop_{}", size);
      EXPECT_EQ(crc_of(actual), facts.at("images").at(name).at(crop + "_crc32")) << name << ' ' << size;
      if (const Tensor* expected = eval_tensors().tensors.find(name + "/" + crop)) {
        EXPECT_EQ(largest_difference(actual, picture_of(*expected)), 0) << name << ' ' << size;
      }
    }
  }
}

TEST(EvalTransform, CropsOfFilesHoldWithinTheDecodersAllowance) {
  const nlohmann::json facts = eval_facts();
  int exact = 0;
  for (const auto& [name, photograph] : facts.at("images").items()) {
    const Image decoded = read_image(golden_photograph(name));
    const bool same_pixels = crc_of(decoded) == photograph.at("decoded_crc32");
    for (const int size : golden_sizes()) {
      const Image actual = eval_crop(decoded, transform_of(size));
      const std::string crop = fmt::format("crop_{}", size);
      if (same_pixels) {
        EXPECT_EQ(crc_of(actual), photograph.at(crop + "_crc32")) << name << ' ' << size;
        ++exact;
      } else if (const Tensor* expected = eval_tensors().tensors.find(name + "/" + crop)) {
        EXPECT_LE(largest_difference(actual, picture_of(*expected)), kDecoderLevels) << name << ' ' << size;
      }
    }
  }
  EXPECT_GT(exact, 0);
}

/// Mean and population standard deviation.
std::array<double, 2> moments(const std::vector<float>& values) {
  const auto n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0.0;
  for (const float value : values) squares += (value - mean) * (value - mean);
  return {mean, std::sqrt(squares / n)};
}

TEST(EvalTransform, NormalisedTensorsHaveTheRecordedMoments) {
  const nlohmann::json facts = eval_facts();
  for (const std::string& name : names_with(eval_tensors(), "decoded_rgb")) {
    const Image decoded = picture_of(eval_tensors().tensors.at(name + "/decoded_rgb"));
    for (const int size : golden_sizes()) {
      const auto expected = facts.at("images").at(name).at(fmt::format("tensor_{}_mean_std", size));
      const auto [mean, deviation] = moments(eval_input(decoded, transform_of(size)));
      EXPECT_NEAR(mean, expected.at(0).get<double>(), 1e-6) << name;
      EXPECT_NEAR(deviation, expected.at(1).get<double>(), 1e-5)
          << name;  // theirs may be the sample's: N - 1
    }
  }
}

TEST(EvalTransform, StoredTensorsAreBitExact) {
  for (const int size : golden_sizes()) {
    for (const auto& [name, tensor] : eval_tensors().tensors) {
      const std::string ending = fmt::format("/tensor_{}", size);
      if (!name.ends_with(ending)) continue;
      const std::string photograph = name.substr(0, name.size() - ending.size());
      const Image decoded = picture_of(eval_tensors().tensors.at(photograph + "/decoded_rgb"));
      const std::vector<float> actual = eval_input(decoded, transform_of(size));
      const std::vector<float> expected = tensor.values<float>();  // CHW
      ASSERT_EQ(actual.size(), expected.size());
      const std::size_t area = expected.size() / 3;
      std::size_t wrong = 0;
      for (std::size_t i = 0; i < actual.size(); ++i)
        wrong += actual[i] != expected[i % 3 * area + i / 3] ? 1U : 0U;
      EXPECT_EQ(wrong, 0U) << name;
    }
  }
}

TEST(EvalTransform, TargetsThatAreNotSquareAreCovered) {
  const Image source(300, 200, 3);
  EvalTransform transform;
  transform.format.width = 100;
  transform.format.height = 160;
  const Image crop = eval_crop(source, transform);
  EXPECT_EQ(crop.width, 100);
  EXPECT_EQ(crop.height, 160);
  transform.format.width = 333;
  transform.crop = 1.0;
  EXPECT_EQ(eval_crop(source, transform).width, 333);
}

TEST(EvalTransform, GreyInputsKeepOneChannel) {
  EvalTransform transform;
  transform.format = {.height = 28, .width = 28, .channels = 1, .mean = {0.5F, 0, 0}, .std = {0.25F, 0, 0}};
  transform.crop = 1.0;
  Image source(28, 28, 1);
  source.pixels[29] = 255;
  const std::vector<float> values = eval_input(source, transform);
  ASSERT_EQ(values.size(), 28U * 28U);
  EXPECT_FLOAT_EQ(values[0], -2.0F);
  EXPECT_FLOAT_EQ(values[29], 2.0F);
}

TEST(EvalTransform, RefusesWhatCannotBe) {
  const Image source(10, 10, 3);
  EvalTransform transform;
  transform.crop = 1.5;
  EXPECT_THROW(eval_crop(source, transform), UsageError);
  transform = {};
  transform.format.std[1] = 0;
  EXPECT_THROW(eval_crop(source, transform), UsageError);
  transform = {};
  transform.format.width = 0;
  EXPECT_THROW(eval_crop(source, transform), UsageError);
  std::vector<float> out(3);
  EXPECT_THROW(normalize(source, InputFormat{}, out), Error);
}

TEST(EvalTransform, AnExtremeAspectCostsTheCropOnly) {
  Image thread(1, 1'000'000, 3);
  thread.pixels[1'500'000] = 200;
  EXPECT_EQ(eval_crop(thread, EvalTransform{}).width, 224);
}

}  // namespace
}  // namespace spatialmamba::image
