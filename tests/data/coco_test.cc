#include "data/coco.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "support/temporary_folder.h"

namespace spatialmamba::data {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Coco : public testing::Test {
 protected:
  std::filesystem::path file(const std::string& text) {
    const std::filesystem::path path = folder_.path() / "annotations.json";
    write_text(path, text);
    return path;
  }
  std::string message(const std::string& text) {
    try {
      read_coco(file(text));
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  test::TemporaryFolder folder_;
};

const std::string kHead =
    R"({"info": {"id": [1, {"images": 2}]}, "images": [{"id": 5, "file_name": "a.png", "width": 8, "height": 6}],
        "categories": [{"id": 2, "name": "two"}, {"id": 1, "name": "one"}], "annotations": [)";

std::string with(const std::string& annotations) {
  return kHead + annotations + "]}";
}

TEST_F(Coco, ReadsEveryKindOfOutline) {
  const CocoFile coco = read_coco(file(with(R"(
      {"id": 1, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 3.5], "area": 4.5, "iscrowd": 0,
       "segmentation": [[1, 1, 3, 1, 3, 4], [5, 1, 7, 1, 7, 3, 5, 3]]},
      {"id": 2, "image_id": 5, "category_id": 2, "bbox": [0, 0, 8, 6], "area": 8, "iscrowd": 1,
       "segmentation": {"size": [6, 8], "counts": [4, 6, 38]}, "attributes": {"deep": [[1], {"counts": [3]}]}},
      {"id": 3, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2],
       "segmentation": {"counts": "46V1", "size": [6, 8]}},
      {"id": 4, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": [[2, 2, 5, 2, 5, 5]]})")));
  EXPECT_TRUE(coco.problems.empty()) << coco.problems.front();
  ASSERT_EQ(coco.objects.size(), 4U);
  EXPECT_EQ(coco.categories[0].name, "two");
  EXPECT_EQ(coco.images[0].file, "a.png");
  EXPECT_EQ(coco.objects[0].box, (image::XywhBox{1, 1, 2, 3.5}));
  EXPECT_EQ(coco.polygons(coco.objects[0]).size(), 2U);
  EXPECT_THAT(coco.polygons(coco.objects[3])[0], ElementsAre(2, 2, 5, 2, 5, 5));
  EXPECT_TRUE(coco.objects[1].crowd);
  EXPECT_THAT(mask_of(coco, coco.objects[1], 6, 8).counts, ElementsAre(4, 6, 38));
  EXPECT_EQ(mask_of(coco, coco.objects[2], 6, 8), mask_of(coco, coco.objects[1], 6, 8));
  EXPECT_EQ(coco.objects[2].area, 6.0) << "from the outline";
}

TEST_F(Coco, TheByteThatBreaksItIsNamed) {
  std::string text = with(R"({"id": 1, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2]})");
  const std::size_t broken = text.find("bbox") + 8;
  text[broken] = '?';
  EXPECT_THAT(message(text), HasSubstr("byte " + std::to_string(broken + 1)));
  EXPECT_THAT(message(text.substr(0, 40)), HasSubstr("byte 41"));
}

TEST_F(Coco, WhatMakesNoSenseIsCountedAndNamed) {
  const CocoFile coco = read_coco(file(with(R"(
      {"id": 1, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2], "area": 4},
      {"id": 1, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2], "area": 4},
      {"id": 2, "image_id": 6, "category_id": 1, "bbox": [1, 1, 2, 2], "area": 4},
      {"id": 3, "image_id": 7, "category_id": 1, "bbox": [1, 1, 2, 2], "area": 4},
      {"id": 4, "image_id": 5, "category_id": 3, "bbox": [1, 1, 2, 2], "area": 4},
      {"id": 5, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2], "area": 4},
      {"id": 6, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": {"size": [6, 8], "counts": [1]}}
      )")));
  EXPECT_EQ(coco.objects.size(), 1U);
  EXPECT_THAT(coco.problems, testing::UnorderedElementsAre(
                                 "1 left out: annotations whose id was there before (the first is 1)",
                                 "2 left out: annotations of an unknown image (the first is 2)",
                                 "1 left out: annotations of an unknown category (the first is 4)",
                                 "1 left out: annotations without a box of four numbers (the first is 5)",
                                 "1 left out: annotations whose outline makes no sense (the first is 6)"));
}

TEST_F(Coco, WhatIsStrangeIsKeptCountedAndNamed) {
  const CocoFile coco = read_coco(file(with(R"(
      {"id": 1, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2], "area": 4},
      {"id": 2, "image_id": 5, "category_id": 1, "bbox": [8, 1, 2, 2], "area": 4},
      {"id": 3, "image_id": 5, "category_id": 1, "bbox": [-9, 1, 9, 2], "area": 4},
      {"id": 4, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 0], "area": 4},
      {"id": 5, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2], "segmentation": [[1, 1, 1, 1, 1, 1]], "area": 0},
      {"id": 6, "image_id": 5, "category_id": 1, "bbox": [1, null], "segmentation": [[2, 2, 5, 2, 5, 5]]}
      )")));
  EXPECT_EQ(coco.objects.size(), 6U);
  EXPECT_THAT(
      coco.problems,
      testing::UnorderedElementsAre(
          "2 kept: annotations whose box lies outside their image; training leaves them out (the first is 2)",
          "2 kept: annotations without an area; training leaves them out (the first is 4)",
          "1 kept: annotations without a box of four numbers, which their outlines give (the first is 6)"));
}

TEST_F(Coco, ARunThatMakesNoSenseNamesFileAndObject) {
  const CocoFile coco = read_coco(file(with(R"(
      {"id": 3, "image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 2], "area": 4,
       "segmentation": {"size": [6, 8], "counts": [1]}})")));
  try {
    mask_of(coco, coco.objects.at(0), 6, 8);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::AllOf(HasSubstr(coco.name), HasSubstr("object 3")));
  }
}

TEST_F(Coco, FilesThatAreNoAnnotationsAreRefused) {
  EXPECT_THAT(message("[]"), HasSubstr("no list \"images\""));
  EXPECT_THAT(message(R"({"images": {}})"), HasSubstr("a list was expected"));
  EXPECT_THAT(message(R"({"images": [{"id": "x"}]})"), HasSubstr("image 0: \"id\" is not a number"));
  EXPECT_THAT(message(R"({"images": [{"id": 1.5}]})"), HasSubstr("not a whole number"));
  EXPECT_THAT(message(R"({"images": [{"id": 1, "file_name": "a", "width": 3, "height": 3}]})"),
              HasSubstr("\"categories\""));
}

TEST_F(Coco, ResultsAreCheckedAgainstTheirImages) {
  const CocoFile truth = read_coco(file(with("")));
  const auto results = [&](const std::string& text) { return read_coco_results(file(text), truth); };
  const CocoFile fine = results(R"([{"image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 3], "score": 0.5},
      {"image_id": 5, "category_id": 1, "score": 1, "segmentation": {"size": [6, 8], "counts": "46V1"}}])");
  ASSERT_EQ(fine.objects.size(), 2U);
  EXPECT_EQ(fine.objects[0].area, 6.0);
  EXPECT_EQ(fine.objects[1].area, 6.0);
  EXPECT_TRUE(results("[]").objects.empty());
  EXPECT_THROW(results(R"([{"image_id": 9, "category_id": 1, "bbox": [1, 1, 2, 3], "score": 0.5}])"), Error);
  EXPECT_THROW(results(R"([{"image_id": 5, "category_id": 1, "bbox": [1, 1, 2, 3]}])"), Error);
  EXPECT_THROW(results(R"([{"image_id": 5, "category_id": 1, "score": 0.5}])"), Error);
  EXPECT_THROW(results("{}"), Error);
}

}  // namespace
}  // namespace spatialmamba::data
