#include "image/resize.h"

#include <gtest/gtest.h>

#include <charconv>
#include <sstream>

#include "base/random.h"
#include "image/golden_images.h"
#include "image/instruction_sets.h"
#include "image/resize_passes.h"

namespace spatialmamba::image {
namespace {

using test::golden;
using test::largest_difference;
using test::picture_of;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::stringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

Image noise(int width, int height, int channels, std::uint64_t seed) {
  Image picture(width, height, channels);
  Random random(seed);
  for (std::uint8_t& value : picture.pixels) value = static_cast<std::uint8_t>(random.below(256));
  return picture;
}

TEST(Resize, MatchesPillowOnWholePictures) {
  const Weights& weights = test::eval_tensors();
  const std::string prefix = "resize/";
  int cases = 0;
  for (const auto& [name, tensor] : weights.tensors) {
    if (!name.starts_with(prefix)) continue;
    const std::string filter = split(name.substr(prefix.size()), '_').at(0);
    const Image expected = picture_of(tensor);
    // Made from "the first image", whose name the golden does not say: it is the one that fits.
    int best = 256;
    for (const std::string& photograph : test::names_with(weights, "decoded_rgb")) {
      const Image source = picture_of(weights.tensors.at(photograph + "/decoded_rgb"));
      best = std::min(
          best, largest_difference(resize(source, expected.width, expected.height, filter_from_name(filter)),
                                   expected));
    }
    EXPECT_EQ(best, 0) << name;
    ++cases;
  }
  EXPECT_GT(cases, 0);
}

TEST(Resize, MatchesPillowOnCrops) {
  const Weights weights = read_safetensors(golden("classification/data/random_resized_crop.safetensors"));
  const Image source = picture_of(weights.tensors.at("input"));
  int cases = 0;
  for (const auto& [name, tensor] : weights.tensors) {
    const std::vector<std::string> parts = split(name, '/');
    if (parts.size() != 3) continue;
    const std::vector<std::string> box = split(parts[1], '_');
    ASSERT_EQ(box.size(), 4U) << name;
    const Rect rect{.left = std::stoi(box[1]),
                    .top = std::stoi(box[0]),
                    .width = std::stoi(box[3]),
                    .height = std::stoi(box[2])};
    const Image expected = picture_of(tensor);
    Image actual = resize(source, rect, expected.width, expected.height, filter_from_name(parts[0]));
    if (parts[2].ends_with("_hflip")) actual = flip_horizontal(actual);
    EXPECT_EQ(largest_difference(actual, expected), 0) << name;
    ++cases;
  }
  EXPECT_GT(cases, 0);
}

/// The plain loops that the vectorised passes must equal.
std::vector<std::uint8_t> plain_rows(const PixelView& in, const Taps& taps) {
  std::vector<std::uint8_t> out;
  for (int y = 0; y < in.height; ++y) {
    for (const Taps::Position& position : taps.positions) {
      for (int c = 0; c < in.channels; ++c) {
        std::int64_t sum = 1 << (Taps::kPrecisionBits - 1);
        for (int k = 0; k < position.count; ++k) {
          const std::size_t at = in.stride * static_cast<std::size_t>(y) +
                                 static_cast<std::size_t>((position.first + k) * in.channels + c);
          sum += in.data[at] *
                 static_cast<std::int64_t>(taps.weights[position.weights + static_cast<std::size_t>(k)]);
        }
        out.push_back(
            static_cast<std::uint8_t>(std::clamp<std::int64_t>(sum >> Taps::kPrecisionBits, 0, 255)));
      }
    }
  }
  return out;
}

/// A Taps with random windows and weights that add up to about 1, some negative.
Taps random_taps(int in_size, int out_size, Random& random) {
  Taps taps;
  for (int i = 0; i < out_size; ++i) {
    const int count = 1 + static_cast<int>(random.below(std::min(in_size, 9)));
    const int first = static_cast<int>(random.below(in_size - count + 1));
    taps.positions.push_back({first, count, taps.weights.size()});
    for (int k = 0; k < count; ++k) {
      taps.weights.push_back(
          static_cast<std::int32_t>(random.uniform(-0.2, 1.2) / count * (1 << Taps::kPrecisionBits)));
    }
  }
  return taps;
}

Image transposed(const Image& picture) {
  Image out(picture.height, picture.width, picture.channels);
  for (int y = 0; y < out.height; ++y) {
    for (int x = 0; x < out.width * out.channels; ++x) {
      out.row(y)[x] = picture.row(x / out.channels)[y * out.channels + x % out.channels];
    }
  }
  return out;
}

TEST(Resize, VectorisedPassesEqualPlainLoops) {
  on_every_instruction_set([] {
    Random random(7);
    for (int round = 0; round < 60; ++round) {
      const int channels = round % 2 == 0 ? 3 : 1;
      const Image source =
          noise(1 + static_cast<int>(random.below(40)), 1 + static_cast<int>(random.below(40)), channels,
                static_cast<std::uint64_t>(round));
      const PixelView view{source.pixels.data(), source.row_bytes(), source.width, source.height, channels};
      const int wanted = 1 + static_cast<int>(random.below(40));

      const Taps across = random_taps(source.width, wanted, random);
      Image rows(wanted, source.height, channels);
      resize_rows(view, across, rows.pixels.data());
      EXPECT_EQ(rows.pixels, plain_rows(view, across));

      const Taps down = random_taps(source.height, wanted, random);
      Image columns(source.width, wanted, channels);
      resize_columns(view, down, columns.pixels.data());
      const Image turned = transposed(source);
      Image expected(wanted, source.width, channels);
      expected.pixels =
          plain_rows({turned.pixels.data(), turned.row_bytes(), turned.width, turned.height, channels}, down);
      EXPECT_EQ(columns, transposed(expected));
    }
  });
}

TEST(Resize, PartEqualsTheSamePartOfTheWhole) {
  Random random(11);
  for (int round = 0; round < 40; ++round) {
    const Image source = noise(20 + round, 61 - round, 3, static_cast<std::uint64_t>(round));
    const Rect box{.left = 3, .top = 2, .width = 15, .height = 17};
    const int width = round % 5 == 0 ? box.width : 9 + round;
    const int height = round % 7 == 0 ? box.height : 50 - round;
    const Rect part{.left = static_cast<int>(random.below(4)),
                    .top = static_cast<int>(random.below(4)),
                    .width = 5,
                    .height = 6};
    const Image whole = resize(source, box, width, height, Filter::bicubic);
    EXPECT_EQ(resize_part(source, box, width, height, part, Filter::bicubic), crop(whole, part));
    EXPECT_EQ(whole, resize(crop(source, box), width, height, Filter::bicubic));
  }
}

TEST(Resize, GreyEqualsEachChannelOfColour) {
  const Image grey = noise(37, 23, 1, 3);
  for (const Filter filter : {Filter::bilinear, Filter::bicubic, Filter::lanczos}) {
    EXPECT_EQ(with_channels(resize(grey, 50, 11, filter), 3), resize(with_channels(grey, 3), 50, 11, filter));
  }
}

TEST(Resize, SameSizeCopies) {
  const Image source = noise(13, 8, 3, 5);
  EXPECT_EQ(resize(source, 13, 8, Filter::bicubic), source);
}

TEST(Resize, RefusesWhatCannotBe) {
  const Image source = noise(10, 10, 3, 1);
  EXPECT_THROW(resize(source, {.left = 5, .top = 0, .width = 6, .height = 5}, 4, 4, Filter::bicubic), Error);
  EXPECT_THROW(resize(source, {.left = 0, .top = -1, .width = 6, .height = 5}, 4, 4, Filter::bicubic), Error);
  EXPECT_THROW(resize(source, 0, 4, Filter::bicubic), Error);
  EXPECT_THROW(filter_from_name("cubic"), UsageError);
  EXPECT_EQ(filter_from_name(name_of(Filter::lanczos)), Filter::lanczos);
}

}  // namespace
}  // namespace spatialmamba::image
