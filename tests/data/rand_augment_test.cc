#include "data/rand_augment.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/file.h"
#include "spatialmamba/error.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::data {
namespace {

using image::Image;
using test::golden;

const AugmentOperation* find_operation(std::string_view name) {
  const auto all = augment_operations();
  const auto found = std::ranges::find(all, name, &AugmentOperation::name);
  return found == all.end() ? nullptr : &*found;
}

Image to_image(const Tensor& tensor) {
  Image picture(static_cast<int>(tensor.shape()[1]), static_cast<int>(tensor.shape()[0]), 3);
  picture.pixels = tensor.values<std::uint8_t>();
  return picture;
}

/// "bilinear/Rotate/8.5": what to do with which input.
struct GoldenCase {
  explicit GoldenCase(std::string name) {
    if (name.starts_with("bilinear/")) {
      filling.filter = image::Filter::bilinear;
      name.erase(0, name.find('/') + 1);
    }
    if (name.starts_with("flat/")) {
      input = "flat/input";
      // What has an argument was made with one that the name does not tell.
      operation = find_operation(name.substr(name.find('/') + 1));
      if (operation != nullptr && operation->argument != nullptr) operation = nullptr;
      return;
    }
    const std::size_t slash = name.find('/');
    operation = find_operation(name.substr(0, slash));
    if (operation != nullptr && operation->argument != nullptr) argument = std::stod(name.substr(slash + 1));
  }

  std::string input = "input";
  const AugmentOperation* operation = nullptr;
  double argument = 0.0;
  Filling filling;
};

TEST(RandAugment, EveryOperationMatchesTheReferenceBitForBit) {
  const Weights weights = read_safetensors(golden("classification/data/randaugment.safetensors"));
  std::map<std::string_view, int> checked;
  for (const auto& [name, tensor] : weights.tensors) {
    const GoldenCase item(name);
    if (item.operation == nullptr) continue;
    Image picture = to_image(weights.tensors.at(item.input));
    item.operation->apply(picture, item.argument, item.filling);
    EXPECT_EQ(picture.pixels, to_image(tensor).pixels) << name;
    ++checked[item.operation->name];
  }
  for (const AugmentOperation& operation : augment_operations()) {
    EXPECT_GT(checked[operation.name], 0) << "no golden of " << operation.name;
  }
}

/// "Rotate27.0_ColorIncreasing1.81": operations in turn.
void apply_chain(const std::string& chain, Image& picture) {
  std::istringstream steps(chain);
  for (std::string step; std::getline(steps, step, '_');) {
    const std::size_t digits = step.find_first_of("-0123456789");
    const AugmentOperation* operation = find_operation(step.substr(0, digits));
    ASSERT_NE(operation, nullptr) << step;
    operation->apply(picture, digits == std::string::npos ? 0.0 : std::stod(step.substr(digits)), Filling{});
  }
}

TEST(RandAugment, OperationsChain) {
  const Weights weights = read_safetensors(golden("classification/data/randaugment.safetensors"));
  const std::string prefix = "chain/";
  int checked = 0;
  for (const auto& [name, tensor] : weights.tensors) {
    if (!name.starts_with(prefix)) continue;
    Image picture = to_image(weights.tensors.at("input"));
    apply_chain(name.substr(prefix.size()), picture);
    EXPECT_EQ(picture, to_image(tensor)) << name;
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

TEST(RandAugment, MagnitudesBecomeTheReferencesArguments) {
  std::istringstream table(read_text(golden("classification/data/randaugment_level_to_arg.csv")));
  std::string line;
  std::getline(table, line);
  ASSERT_EQ(line, "op,magnitude,sign_flip,arg");
  int rows = 0;
  for (; std::getline(table, line); ++rows) {
    std::vector<std::string> fields;
    std::istringstream cells(line);
    for (std::string cell; std::getline(cells, cell, ',');) fields.push_back(cell);
    const AugmentOperation* operation = find_operation(fields.at(0));
    ASSERT_NE(operation, nullptr) << line;
    EXPECT_EQ(operation->argument != nullptr, fields.size() > 3) << line;
    if (operation->argument == nullptr) continue;
    EXPECT_EQ(operation->argument(std::stod(fields.at(1)), fields.at(2) == "1"), std::stod(fields.at(3)))
        << line;
  }
  EXPECT_GT(rows, 0);
}

TEST(RandAugment, OffersTheReferencesOperationsInItsOrder) {
  const auto facts = nlohmann::json::parse(read_text(golden("classification/data/train_transform.json")));
  const auto& expected = facts.at("randaugment");
  std::vector<std::string> names;
  for (const AugmentOperation& operation : augment_operations()) names.emplace_back(operation.name);
  EXPECT_EQ(names, expected.at("ops").get<std::vector<std::string>>());
  const RandAugment defaults;
  EXPECT_EQ(defaults.magnitude, expected.at("magnitude").get<double>());
  EXPECT_EQ(defaults.deviation, expected.at("magnitude_std").get<double>());
  EXPECT_EQ(defaults.probability, expected.at("prob").get<double>());
  EXPECT_EQ(Filling{}.colour, (expected.at("fillcolor").get<std::array<std::uint8_t, 3>>()));
}

Image noise(int width, int height, int channels) {
  Image picture(width, height, channels);
  Random random(7);
  for (std::uint8_t& value : picture.pixels) value = static_cast<std::uint8_t>(random.below(256));
  return picture;
}

TEST(RandAugment, HoldsForPicturesOfAnyShape) {
  for (const int channels : {1, 3}) {
    for (const auto& [width, height] : {std::pair{1, 1}, {1, 9}, {9, 1}, {2, 2}, {3, 3}, {17, 5}, {33, 18}}) {
      for (const AugmentOperation& operation : augment_operations()) {
        Image picture = noise(width, height, channels);
        const double argument = operation.argument == nullptr ? 0.0 : operation.argument(9.0, true);
        operation.apply(picture, argument, Filling{});
        EXPECT_EQ(picture.pixels.size(), static_cast<std::size_t>(width * height * channels))
            << operation.name;
      }
    }
  }
}

/// What colour operations do to a grey picture is what they do to each channel of the same picture in colour.
TEST(RandAugment, GreyIsAColourWithEqualChannels) {
  const Image grey = noise(37, 21, 1);
  const Filling filling{.filter = image::Filter::bicubic, .colour = {90, 90, 90}};
  for (const AugmentOperation& operation : augment_operations()) {
    const double argument = operation.argument == nullptr ? 0.0 : operation.argument(8.0, false);
    Image one = grey;
    operation.apply(one, argument, filling);
    Image three = image::with_channels(grey, 3);
    operation.apply(three, argument, filling);
    EXPECT_EQ(image::with_channels(one, 3), three) << operation.name;
  }
}

TEST(RandAugment, AppliesEachOperationAsOftenAsTheReference) {
  // With magnitude 0, SolarizeAdd, shears, ... change nothing; Invert always changes: it is one operation
  // in 15.
  const RandAugment augment{.layers = 1, .magnitude = 0.0, .deviation = 0.0};
  Image black(8, 8, 3);
  Image white = black;
  std::ranges::fill(white.pixels, std::uint8_t{255});
  Random random(3);
  int inverted = 0;
  constexpr int kDraws = 15'000;
  for (int i = 0; i < kDraws; ++i) {
    Image picture = black;
    apply(augment, Filling{.colour = {0, 0, 0}}, random, picture);
    inverted += picture == white;
  }
  EXPECT_NEAR(static_cast<double>(inverted) / kDraws, 0.5 / 15, 0.006);
}

TEST(RandAugment, RefusesWhatCannotBe) {
  EXPECT_NO_THROW(validate(RandAugment{}));
  EXPECT_THROW(validate(RandAugment{.layers = -1}), UsageError);
  EXPECT_THROW(validate(RandAugment{.magnitude = 11}), UsageError);
  EXPECT_THROW(validate(RandAugment{.deviation = -1}), UsageError);
  EXPECT_THROW(validate(RandAugment{.probability = 1.5}), UsageError);
}

}  // namespace
}  // namespace spatialmamba::data
