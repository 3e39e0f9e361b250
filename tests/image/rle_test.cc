#include "image/rle.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "base/random.h"
#include "support/golden.h"

namespace spatialmamba::image {
namespace {

using nlohmann::json;

json golden_json() {
  return json::parse(read_text(test::golden("detection/cocoeval/rle.json")));
}

TensorMap golden_masks() {
  return read_safetensors(test::golden("detection/cocoeval/rle_masks.safetensors")).tensors;
}

XywhBox to_box(const json& values) {
  return {values.at(0), values.at(1), values.at(2), values.at(3)};
}

Rle from_golden(const json& text, const json& size) {
  return rle_from_text(text.get<std::string>(), size.at(0), size.at(1));
}

// Several polygons make one mask.
Rle united(const json& polygons, const json& size) {
  std::vector<Rle> parts;
  for (const json& polygon : polygons) {
    parts.push_back(rasterize_polygon(polygon.get<std::vector<double>>(), size.at(0), size.at(1)));
  }
  return merge(parts, Merge::unite);
}

TEST(Rle, CodesMasksAsThePeerDoes) {
  const json golden = golden_json();
  const TensorMap masks = golden_masks();
  ASSERT_FALSE(golden.at("rle").empty());
  for (std::size_t i = 0; i < golden.at("rle").size(); ++i) {
    SCOPED_TRACE(i);
    const json& expected = golden.at("rle").at(i);
    const Tensor& mask = masks.at("mask" + std::to_string(i));
    const std::vector<std::uint8_t> pixels = mask.values<std::uint8_t>();
    const Rle rle = encode_mask(pixels, static_cast<std::uint32_t>(mask.shape()[0]),
                                static_cast<std::uint32_t>(mask.shape()[1]));
    EXPECT_EQ(rle.counts, expected.at("uncompressed").get<std::vector<std::uint32_t>>());
    EXPECT_EQ(rle_to_text(rle), expected.at("counts").get<std::string>());
    EXPECT_EQ(from_golden(expected.at("counts"), expected.at("size")), rle);
    EXPECT_EQ(decode_mask(rle), pixels);
    EXPECT_EQ(area(rle), expected.at("area").get<std::uint64_t>());
    EXPECT_EQ(bounding_box(rle), to_box(expected.at("bbox")));
  }
}

TEST(Rle, FillsPolygonsAndBoxesAsThePeerDoes) {
  const json golden = golden_json();
  const TensorMap masks = golden_masks();
  const json& size = golden.at("poly_size");
  ASSERT_FALSE(golden.at("poly").empty());
  for (std::size_t i = 0; i < golden.at("poly").size(); ++i) {
    SCOPED_TRACE(i);
    const json& expected = golden.at("poly").at(i);
    for (std::size_t part = 0; part < expected.at("polygons").size(); ++part) {
      const auto points = expected.at("polygons").at(part).get<std::vector<double>>();
      const Rle rle = rasterize_polygon(points, size.at(0), size.at(1));
      EXPECT_EQ(rle_to_text(rle), expected.at("each").at(part).get<std::string>());
    }
    const Rle whole = united(expected.at("polygons"), size);
    EXPECT_EQ(rle_to_text(whole), expected.at("merged").get<std::string>());
    EXPECT_EQ(area(whole), expected.at("area").get<std::uint64_t>());
    EXPECT_EQ(bounding_box(whole), to_box(expected.at("bbox")));
    EXPECT_EQ(decode_mask(whole), masks.at("poly" + std::to_string(i)).values<std::uint8_t>());
  }
  for (std::size_t i = 0; i < golden.at("boxes").size(); ++i) {
    const Rle rle = rasterize_box(to_box(golden.at("boxes").at(i)), size.at(0), size.at(1));
    EXPECT_EQ(rle_to_text(rle), golden.at("boxes_rle").at(i).get<std::string>());
  }
}

TEST(Rle, OverlapsAsThePeerSays) {
  const json golden = golden_json();
  std::vector<Rle> masks;
  std::vector<XywhBox> boxes;
  for (const json& polygon : golden.at("poly")) {
    masks.push_back(united(polygon.at("polygons"), golden.at("poly_size")));
    boxes.push_back(to_box(polygon.at("bbox")));
  }
  for (std::size_t d = 0; d < masks.size(); ++d) {
    for (std::size_t g = 0; g < masks.size(); ++g) {
      const bool crowd = golden.at("iou_iscrowd").at(g).get<int>() != 0;
      EXPECT_EQ(mask_iou(masks[d], masks[g], false), golden.at("iou_poly_poly").at(d).at(g).get<double>());
      EXPECT_EQ(mask_iou(masks[d], masks[g], crowd),
                golden.at("iou_poly_poly_crowd").at(d).at(g).get<double>());
      EXPECT_EQ(box_iou(boxes[d], boxes[g], false), golden.at("iou_bbox").at(d).at(g).get<double>());
      EXPECT_EQ(box_iou(boxes[d], boxes[g], crowd), golden.at("iou_bbox_crowd").at(d).at(g).get<double>());
    }
  }
  EXPECT_EQ(rle_to_text(merge(masks, Merge::unite)), golden.at("merge_union").get<std::string>());
  std::vector<Rle> some;
  for (const std::size_t i : golden.at("merge_intersect_of").get<std::vector<std::size_t>>()) {
    some.push_back(masks[i]);
  }
  EXPECT_EQ(rle_to_text(merge(some, Merge::intersect)), golden.at("merge_intersect").get<std::string>());
}

TEST(Rle, RandomMasksSurviveTheWayThereAndBack) {
  Random random(1);
  for (int trial = 0; trial < 200; ++trial) {
    const auto height = static_cast<std::uint32_t>(1 + random.below(40));
    const auto width = static_cast<std::uint32_t>(1 + random.below(40));
    std::vector<std::uint8_t> mask(std::size_t{height} * width);
    const double share = random.uniform();
    for (std::uint8_t& pixel : mask) pixel = random.chance(share) ? 1 : 0;
    const Rle rle = encode_mask(mask, height, width);
    EXPECT_EQ(decode_mask(rle_from_text(rle_to_text(rle), height, width)), mask);
  }
}

TEST(Rle, APartIsThePictureWithZerosAroundIt) {
  Random random(2);
  for (int trial = 0; trial < 500; ++trial) {
    const auto height = static_cast<int>(1 + random.below(9));
    const auto width = static_cast<int>(1 + random.below(9));
    Rect part{.left = static_cast<int>(random.below(width)), .top = static_cast<int>(random.below(height))};
    part.width = static_cast<int>(1 + random.below(width - part.left));
    part.height = static_cast<int>(1 + random.below(height - part.top));
    std::vector<std::uint8_t> mask;
    std::vector<std::uint8_t> picture(static_cast<std::size_t>(height * width));
    for (int i = 0; i < part.width * part.height; ++i) {
      mask.push_back(random.chance(0.7) ? 1 : 0);
      const int at = (part.top + i / part.width) * width + part.left + i % part.width;
      picture[static_cast<std::size_t>(at)] = mask.back();
    }
    const auto h = static_cast<std::uint32_t>(height);
    const auto w = static_cast<std::uint32_t>(width);
    EXPECT_EQ(encode_part(mask, part, h, w), encode_mask(picture, h, w));
    EXPECT_EQ(decode_mask(encode_part(mask, part, h, w)), picture);
  }
}

TEST(Rle, RefusesBrokenText) {
  EXPECT_THROW(rle_from_text("o", 2, 2), Error);     // ends within a number
  EXPECT_THROW(rle_from_text("\x01", 2, 2), Error);  // no digit
  EXPECT_THROW(rle_from_text("5", 2, 2), Error);     // one pixel too many
  EXPECT_THROW(rle_from_text("3", 2, 2), Error);     // one too few
  EXPECT_THROW(rle_from_text("O5", 2, 2), Error);    // negative
  EXPECT_THROW(rle_from_text(std::string(40, 'o'), 2, 2), Error);
  EXPECT_THROW(decode_mask({2, 2, {1, 1}}), Error);
  EXPECT_THROW(encode_mask(std::vector<std::uint8_t>(3), 2, 2), Error);
  EXPECT_THROW(merge(std::vector<Rle>{{1, 2, {2}}, {2, 1, {2}}}, Merge::unite), Error);
  EXPECT_THROW(rasterize_polygon(std::vector<double>{0, 0, 1e300, 0, 1, 1}, 4, 4), Error);
}

}  // namespace
}  // namespace spatialmamba::image
