#include "image/codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <filesystem>

#include "base/file.h"
#include "base/random.h"
#include "image/golden_images.h"
#include "support/message_of.h"
#include "support/temporary_folder.h"

namespace spatialmamba::image {
namespace {

using test::eval_tensors;
using test::golden_photograph;
using test::largest_difference;
using test::picture_of;
using testing::HasSubstr;

constexpr int kDecoderLevels = 2;  // what the golden README allows a JPEG decoder

TEST(Codec, GoldenPhotographsDecodeAsPillowDecodesThem) {
  for (const std::string& name : test::names_with(eval_tensors(), "decoded_rgb")) {
    const Image expected = picture_of(eval_tensors().tensors.at(name + "/decoded_rgb"));
    const Image actual = read_image(golden_photograph(name));
    EXPECT_LE(largest_difference(actual, expected), name.ends_with(".png") ? 0 : kDecoderLevels) << name;
  }
}

TEST(Codec, EveryGoldenPngDecodesToTheRecordedChecksum) {
  const nlohmann::json facts = test::eval_facts();
  int exact = 0;
  for (const auto& [name, photograph] : facts.at("images").items()) {
    const bool same = test::crc_of(read_image(golden_photograph(name))) == photograph.at("decoded_crc32");
    EXPECT_TRUE(same || !name.ends_with(".png")) << name;
    exact += same ? 1 : 0;
  }
  EXPECT_GT(exact, 0);
}

TEST(Codec, GreyIsKeptOrMadeOnDemand) {
  const nlohmann::json facts = test::eval_facts();
  for (const auto& [name, photograph] : facts.at("images").items()) {
    const std::string mode = photograph.at("mode");
    const auto path = golden_photograph(name);
    EXPECT_EQ(read_image(path, {.channels = 0}).channels, mode == "L" || mode == "LA" ? 1 : 3) << name;
    EXPECT_EQ(read_image(path, {.channels = 1}), with_channels(read_image(path), 1)) << name;
  }
}

Image gradient(int width, int height, int channels) {
  Image picture(width, height, channels);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width * channels; ++x) picture.row(y)[x] = static_cast<std::uint8_t>(x * 3 + y * 2);
  }
  return picture;
}

TEST(Codec, PngRoundTripIsExact) {
  for (const int channels : {1, 3}) {
    const Image picture = gradient(37, 21, channels);
    EXPECT_EQ(decode(encode_png(picture), "memory", {.channels = 0}), picture);
  }
}

TEST(Codec, AnIndexedPngKeepsItsNumbersAndShowsTheirColours) {
  const test::TemporaryFolder folder;
  const std::filesystem::path path = folder.path() / "labels.png";
  Image numbers(5, 3, 1);
  for (std::size_t i = 0; i < numbers.pixels.size(); ++i)
    numbers.pixels[i] = static_cast<std::uint8_t>(i % 4);
  const std::vector<Rgb> palette = {{0, 0, 0}, {10, 20, 30}, {200, 100, 50}, {255, 255, 255}};
  write_file(path, encode_indexed_png(numbers, palette));
  EXPECT_EQ(read_label_map(path), numbers);
  const Image shown = read_image(path);
  for (std::size_t i = 0; i < shown.pixels.size(); ++i) {
    EXPECT_EQ(shown.pixels[i], palette[numbers.pixels[i / 3]][i % 3]);
  }
  EXPECT_THROW(encode_indexed_png(numbers, std::span(palette).first(3)), Error);
}

TEST(Codec, APngOfNumbersHasSixteenBits) {
  Numbers numbers(301, 2);
  for (std::size_t i = 0; i < numbers.values.size(); ++i)
    numbers.values[i] = static_cast<std::uint16_t>(7 * i * i);
  // Reading a picture keeps the high byte of each sample.
  const Image high = decode(encode_numbers_png(numbers), "memory", {.channels = 0});
  ASSERT_EQ(high.pixels.size(), numbers.values.size());
  for (std::size_t i = 0; i < high.pixels.size(); ++i) EXPECT_EQ(high.pixels[i], numbers.values[i] >> 8);
}

TEST(Codec, JpegRoundTripIsClose) {
  for (const int channels : {1, 3}) {
    Image picture(40, 24, channels);
    for (std::size_t i = 0; i < picture.pixels.size(); ++i) {
      picture.pixels[i] = static_cast<std::uint8_t>(60 + i / static_cast<std::size_t>(40 * channels) * 3);
    }
    EXPECT_LE(
        largest_difference(decode(encode_jpeg(picture, {.quality = 95}), "memory", {.channels = 0}), picture),
        4);
  }
}

/// A PNG of any colour type and depth, written by libpng itself; samples count up.
std::vector<std::byte> png_of(int width, int height, int colour_type, int depth, bool interlaced) {
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  std::vector<std::byte> out;
  png_set_write_fn(
      png, &out,
      [](png_structp p, png_bytep data, std::size_t count) {
        auto* to = static_cast<std::vector<std::byte>*>(png_get_io_ptr(p));
        to->insert(to->end(), reinterpret_cast<std::byte*>(data), reinterpret_cast<std::byte*>(data) + count);
      },
      [](png_structp) {});
  png_set_IHDR(png, info, static_cast<png_uint_32>(width), static_cast<png_uint_32>(height), depth,
               colour_type, interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
               PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
  std::vector<png_color> palette(256);
  for (std::size_t i = 0; i < palette.size(); ++i) {
    const auto v = static_cast<png_byte>(i);
    palette[i] = {static_cast<png_byte>(255 - v), static_cast<png_byte>(v / 2),
                  static_cast<png_byte>(v ^ 85)};
  }
  const png_byte transparent[2] = {0, 128};
  if (colour_type == PNG_COLOR_TYPE_PALETTE) {
    png_set_PLTE(png, info, palette.data(), 1 << depth);
    png_set_tRNS(png, info, transparent, 2, nullptr);
  }
  png_write_info(png, info);
  const std::size_t row_bytes = png_get_rowbytes(png, info);
  const int passes = interlaced ? png_set_interlace_handling(png) : 1;
  for (int pass = 0; pass < passes; ++pass) {
    for (int y = 0; y < height; ++y) {
      std::vector<png_byte> row(row_bytes);
      for (std::size_t x = 0; x < row_bytes; ++x)
        row[x] = static_cast<png_byte>(x * 7 + static_cast<std::size_t>(y) * 31);
      png_write_row(png, row.data());
    }
  }
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  return out;
}

TEST(Codec, EveryKindOfPngIsRead) {
  struct Kind {
    int colour_type;
    std::vector<int> depths;
    int channels;
  };
  const std::vector<Kind> kinds = {{PNG_COLOR_TYPE_GRAY, {1, 2, 4, 8, 16}, 1},
                                   {PNG_COLOR_TYPE_GRAY_ALPHA, {8, 16}, 1},
                                   {PNG_COLOR_TYPE_PALETTE, {1, 2, 4, 8}, 3},
                                   {PNG_COLOR_TYPE_RGB, {8, 16}, 3},
                                   {PNG_COLOR_TYPE_RGB_ALPHA, {8, 16}, 3}};
  for (const Kind& kind : kinds) {
    for (const int depth : kind.depths) {
      const Image plain = decode(png_of(19, 11, kind.colour_type, depth, false), "memory", {.channels = 0});
      EXPECT_EQ(plain.width, 19);
      EXPECT_EQ(plain.height, 11);
      EXPECT_EQ(plain.channels, kind.channels) << kind.colour_type << ' ' << depth;
      EXPECT_EQ(decode(png_of(19, 11, kind.colour_type, depth, true), "memory", {.channels = 0}), plain)
          << "interlaced " << kind.colour_type << ' ' << depth;
    }
  }
}

TEST(Codec, SixteenBitsKeepTheHighByteAndAlphaIsDropped) {
  const Image deep = decode(png_of(2, 1, PNG_COLOR_TYPE_RGB_ALPHA, 16, false), "memory");
  // Samples are bytes 0, 7, 14, …: the high bytes are those at even places; every fourth sample is alpha.
  EXPECT_EQ(deep.pixels, (std::vector<std::uint8_t>{0, 14, 28, 56, 70, 84}));
  const Image grey = decode(png_of(8, 1, PNG_COLOR_TYPE_GRAY, 1, false), "memory", {.channels = 0});
  EXPECT_EQ(grey.pixels, std::vector<std::uint8_t>(8, 0));
}

TEST(Codec, WritesByTheEndingOfTheName) {
  const test::TemporaryFolder temporary;
  const std::filesystem::path& folder = temporary.path();
  const Image picture = gradient(9, 7, 3);
  write_image(folder / "a.PNG", picture);
  EXPECT_EQ(read_image(folder / "a.PNG"), picture);
  write_image(folder / "b.jpeg", picture);
  EXPECT_EQ(read_image(folder / "b.jpeg").width, 9);
  EXPECT_THROW(write_image(folder / "c.gif", picture), Error);
  EXPECT_THROW(write_image(folder / "d.png", Image()), Error);
}

TEST(Codec, NamesOfPictures) {
  EXPECT_TRUE(is_image_name("a.jpg"));
  EXPECT_TRUE(is_image_name("a/b.JPEG"));
  EXPECT_TRUE(is_image_name("x.Png"));
  EXPECT_FALSE(is_image_name("x.gif"));
  EXPECT_FALSE(is_image_name("png"));
}

std::string refusal_of(const std::vector<std::byte>& bytes) {
  return test::message_of([&] { decode(bytes, "holiday.jpg", {.max_pixels = 1'000'000}); });
}

TEST(Codec, SaysWhatIsWrong) {
  EXPECT_THAT(refusal_of({}), HasSubstr("holiday.jpg: expected a JPEG or PNG picture, found an empty file"));
  EXPECT_THAT(refusal_of(std::vector<std::byte>(100)), HasSubstr("neither's signature"));
  std::vector<std::byte> jpeg = encode_jpeg(gradient(64, 64, 3));
  jpeg.resize(jpeg.size() / 2);
  EXPECT_THAT(refusal_of(jpeg), HasSubstr("holiday.jpg: not a sound JPEG file: "));
  std::vector<std::byte> png = encode_png(gradient(64, 64, 3));
  png.resize(png.size() / 2);
  EXPECT_THAT(refusal_of(png), HasSubstr("holiday.jpg: not a sound PNG file: the file ends early"));
  EXPECT_THAT(refusal_of(encode_png(Image(1001, 1000, 1))),
              HasSubstr("1001 x 1000 pixels, more than the 1000000"));
  EXPECT_THAT(refusal_of(encode_jpeg(Image(1001, 1000, 1))),
              HasSubstr("1001 x 1000 pixels, more than the 1000000"));
}

}  // namespace
}  // namespace spatialmamba::image
