// Truncated and corrupted files: every one gives a picture or an Error, never a crash, a hang or another
// exception.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/file.h"
#include "base/random.h"
#include "image/codec.h"
#include "image/golden_images.h"

namespace spatialmamba::image {
namespace {

using Bytes = std::vector<std::byte>;

// Keeps a corrupted header from costing seconds; the golden photographs are smaller.
constexpr DecodeOptions kLimited = {.channels = 0, .apply_orientation = true, .max_pixels = 1 << 20};

bool decodes(std::span<const std::byte> bytes) {
  try {
    const Image picture = decode(bytes, "hostile", kLimited);
    EXPECT_EQ(picture.pixels.size(), picture.row_bytes() * static_cast<std::size_t>(picture.height));
    return true;
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).starts_with("hostile: ")) << error.what();
    return false;
  }
}

/// The golden photographs, and small files whose every byte matters.
std::vector<Bytes> seeds() {
  std::vector<Bytes> files;
  const nlohmann::json facts = test::eval_facts();
  for (const auto& [name, photograph] : facts.at("images").items()) {
    files.push_back(read_file(test::golden_photograph(name)));
  }
  Image tiny(9, 5, 3);
  for (std::size_t i = 0; i < tiny.pixels.size(); ++i) tiny.pixels[i] = static_cast<std::uint8_t>(i * 37);
  files.push_back(encode_png(tiny));
  files.push_back(encode_jpeg(tiny));
  return files;
}

TEST(HostileImage, TruncatedFilesAreRefused) {
  Random random(1);
  for (const Bytes& file : seeds()) {
    for (int round = 0; round < 40; ++round) {
      // An end-of-file marker is all that the last bytes hold: only what lacks pixels must be refused.
      const std::int64_t length = random.below(static_cast<std::int64_t>(file.size()) * 19 / 20);
      EXPECT_FALSE(decodes(std::span(file).first(static_cast<std::size_t>(length))));
    }
  }
}

TEST(HostileImage, EveryPrefixOfSmallFiles) {
  const std::vector<Bytes> files = seeds();
  for (std::size_t f = files.size() - 2; f < files.size(); ++f) {
    ASSERT_TRUE(decodes(files[f]));
    for (std::size_t length = 0; length + 2 < files[f].size(); ++length) {
      EXPECT_FALSE(decodes(std::span(files[f]).first(length))) << length << " of " << files[f].size();
    }
  }
}

TEST(HostileImage, ChangedBytesNeverCrash) {
  Random random(2);
  for (const Bytes& file : seeds()) {
    for (int round = 0; round < 40; ++round) {
      Bytes bad = file;
      // Headers are where the danger is: half of the changes go there.
      const auto reach =
          static_cast<std::int64_t>(round % 2 == 0 ? std::min<std::size_t>(700, bad.size()) : bad.size());
      const std::int64_t flips = 1 + random.below(8);
      for (std::int64_t i = 0; i < flips; ++i) {
        bad[static_cast<std::size_t>(random.below(reach))] = static_cast<std::byte>(random.below(256));
      }
      decodes(bad);
    }
  }
}

TEST(HostileImage, RandomBytesBehindASignature) {
  Random random(3);
  for (const Bytes& file : seeds()) {
    for (int round = 0; round < 10; ++round) {
      Bytes bad(file.begin(), file.begin() + 8);
      for (int i = 0; i < 500; ++i) bad.push_back(static_cast<std::byte>(random.below(256)));
      EXPECT_FALSE(decodes(bad));
    }
  }
}

TEST(HostileImage, HeadersThatPromiseTooMuchAreRefusedBeforeAnythingIsAllocated) {
  Bytes png = encode_png(Image(9, 5, 3));
  for (std::size_t i = 16; i < 20; ++i) png[i] = std::byte{0x7F};  // the width
  EXPECT_FALSE(decodes(png));
  EXPECT_THROW(decode(png, "hostile"), Error);
  Bytes jpeg = encode_jpeg(Image(9, 5, 3));
  for (std::size_t i = 0; i + 9 < jpeg.size(); ++i) {
    if (jpeg[i] != std::byte{0xFF} || jpeg[i + 1] != std::byte{0xC0}) continue;
    for (std::size_t k = 5; k < 9; ++k) jpeg[i + k] = std::byte{0xFE};  // height and width
  }
  EXPECT_THROW(decode(jpeg, "hostile"), Error);
}

}  // namespace
}  // namespace spatialmamba::image
