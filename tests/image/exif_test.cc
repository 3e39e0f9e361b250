#include "image/exif.h"

#include <gtest/gtest.h>

#include <array>

#include "base/file.h"
#include "base/random.h"
#include "image/codec.h"
#include "image/golden_images.h"

namespace spatialmamba::image {
namespace {

using Bytes = std::vector<std::byte>;

void append(Bytes& to, std::initializer_list<unsigned> values) {
  for (const unsigned value : values) to.push_back(static_cast<std::byte>(value));
}

/// A TIFF block with one entry: orientation as a SHORT.
Bytes tiff(unsigned orientation, bool big_endian) {
  Bytes block;
  if (big_endian) {
    append(block, {'M', 'M', 0, 42, 0, 0, 0,           8, 0, 1, 0x01, 0x12, 0,
                   3,   0,   0, 0,  1, 0, orientation, 0, 0, 0, 0,    0,    0});
  } else {
    append(block, {'I', 'I', 42, 0, 8, 0,           0, 0, 1, 0, 0x12, 0x01, 3,
                   0,   1,   0,  0, 0, orientation, 0, 0, 0, 0, 0,    0,    0});
  }
  return block;
}

Bytes jpeg_with(const Bytes& block) {
  const Bytes plain = encode_jpeg(Image(4, 2, 3));
  Bytes file(plain.begin(), plain.begin() + 2);
  const auto length = static_cast<unsigned>(block.size() + 8);
  append(file, {0xFF, 0xE1, length >> 8U, length & 0xFFU, 'E', 'x', 'i', 'f', 0, 0});
  file.insert(file.end(), block.begin(), block.end());
  file.insert(file.end(), plain.begin() + 2, plain.end());
  return file;
}

TEST(Exif, ReadsBothByteOrders) {
  for (unsigned orientation = 1; orientation <= 8; ++orientation) {
    for (const bool big_endian : {false, true}) {
      EXPECT_EQ(exif_orientation(jpeg_with(tiff(orientation, big_endian))), static_cast<int>(orientation));
    }
  }
  EXPECT_EQ(exif_orientation(jpeg_with(tiff(9, true))), 1);
  EXPECT_EQ(exif_orientation(encode_jpeg(Image(4, 2, 3))), 1);
  EXPECT_EQ(exif_orientation(encode_png(Image(4, 2, 3))), 1);
}

TEST(Exif, ReadsThePngChunk) {
  Bytes file = encode_png(Image(4, 2, 3));
  const Bytes block = tiff(6, true);
  Bytes chunk;
  append(chunk, {0, 0, 0, static_cast<unsigned>(block.size()), 'e', 'X', 'I', 'f'});
  chunk.insert(chunk.end(), block.begin(), block.end());
  append(chunk, {0, 0, 0, 0});
  constexpr int kAfterHeader = 8 + 25;
  file.insert(file.begin() + kAfterHeader, chunk.begin(), chunk.end());
  EXPECT_EQ(exif_orientation(file), 6);
}

TEST(Exif, MalformedBlocksMeanUpright) {
  const Bytes good = jpeg_with(tiff(6, false));
  for (std::size_t length = 0; length < good.size(); ++length) {
    const int orientation = exif_orientation(std::span(good).first(length));
    EXPECT_TRUE(orientation == 1 || orientation == 6);
  }
  Random random(3);
  for (int round = 0; round < 2000; ++round) {
    Bytes bad = good;
    for (int flips = 0; flips < 3; ++flips) {
      bad[static_cast<std::size_t>(random.below(60))] = static_cast<std::byte>(random.below(256));
    }
    const int orientation = exif_orientation(bad);
    EXPECT_GE(orientation, 1);
    EXPECT_LE(orientation, 8);
  }
}

TEST(Exif, UprightPutsTheCornerWhereItBelongs) {
  // Where the stored picture's first pixel lies once upright (EXIF 2.32, table of orientations).
  struct Corner {
    int orientation;
    bool right;
    bool bottom;
  };
  constexpr std::array<Corner, 8> kCorners = {{{1, false, false},
                                               {2, true, false},
                                               {3, true, true},
                                               {4, false, true},
                                               {5, false, false},
                                               {6, true, false},
                                               {7, true, true},
                                               {8, false, true}}};
  Image stored(3, 2, 1);
  stored.pixels = {1, 2, 3, 4, 5, 6};
  for (const Corner& corner : kCorners) {
    const Image seen = upright(stored, corner.orientation);
    EXPECT_EQ(seen.width, corner.orientation >= 5 ? 2 : 3);
    const int x = corner.right ? seen.width - 1 : 0;
    const int y = corner.bottom ? seen.height - 1 : 0;
    EXPECT_EQ(seen.row(y)[x], 1) << corner.orientation;
    // Rows stay rows for 1 to 4 and become columns for 5 to 8.
    const int dx = corner.right ? -1 : 1;
    const int dy = corner.bottom ? -1 : 1;
    const int neighbour = corner.orientation >= 5 ? seen.row(y + dy)[x] : seen.row(y)[x + dx];
    EXPECT_EQ(neighbour, 2) << corner.orientation;
  }
}

TEST(Exif, DecodingHonoursItOnDemandOnly) {
  int turned = 0;
  const nlohmann::json facts = test::eval_facts();
  for (const auto& [name, photograph] : facts.at("images").items()) {
    const auto path = test::golden_photograph(name);
    const int orientation = exif_orientation(read_file(path));
    const Image plain = read_image(path);
    EXPECT_EQ(plain.width, photograph.at("size_wh").at(0).get<int>()) << name;
    EXPECT_EQ(read_image(path, {.channels = 3, .apply_orientation = true}), upright(plain, orientation))
        << name;
    turned += orientation != 1 ? 1 : 0;
  }
  EXPECT_GT(turned, 0) << "no golden photograph is rotated";
}

}  // namespace
}  // namespace spatialmamba::image
