// Layouts of segmentation data sets, and masks that are not what they should be.
#include "data/segmentation_dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "image/codec.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace spatialmamba::data {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

image::Image filled(int width, int height, int channels, int value) {
  image::Image picture(width, height, channels);
  std::fill(picture.pixels.begin(), picture.pixels.end(), static_cast<std::uint8_t>(value));
  return picture;
}

/// The message of the error that an action ends with.
template <typename Action>
std::string message_of(const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

class SegmentationData : public testing::Test {
 protected:
  const fs::path& root() const { return folder_.path(); }
  void picture(const std::string& name, int width = 4, int height = 3) {
    image::write_image(root() / name, filled(width, height, 3, 100));
  }
  void mask(const std::string& name, int value, int width = 4, int height = 3) {
    image::write_image(root() / name, filled(width, height, 1, value));
  }
  int label_of(const SegmentationDataset& dataset, std::int64_t i = 0) {
    return dataset.load(i).labels.pixels[0];
  }

 private:
  test::TemporaryFolder folder_;
};

TEST_F(SegmentationData, Ade20kReducesTheZeroLabel) {
  picture("images/training/a.jpg");
  mask("annotations/training/a.png", 0);
  picture("images/training/b.jpg");
  mask("annotations/training/b.png", 150);
  picture("images/validation/c.jpg");
  mask("annotations/validation/c.png", 255);
  const SegmentationDataset training = open_segmentation(root(), Split::train);
  EXPECT_EQ(training.classes.size(), 150U);
  EXPECT_EQ(training.classes[0], "wall");
  EXPECT_EQ(label_of(training, 0), kIgnored);
  EXPECT_EQ(label_of(training, 1), 149);
  EXPECT_EQ(label_of(open_segmentation(root(), Split::validation)), kIgnored);
}

TEST_F(SegmentationData, ZeroMayBeAClassOfItsOwn) {
  picture("images/train/a.png");
  mask("annotations/train/a.png", 0);
  picture("images/train/b.png");
  mask("annotations/train/b.png", 2);
  write_text(root() / "classes.txt", "cup\nplate\n");
  const SegmentationDataset dataset =
      open_segmentation(root(), Split::train, {.zero = ZeroLabel::first_class});
  EXPECT_EQ(dataset.classes, (std::vector<std::string>{"background", "cup", "plate"}));
  EXPECT_EQ(label_of(dataset, 0), 0);
  EXPECT_EQ(label_of(dataset, 1), 2);
}

TEST_F(SegmentationData, CityscapesInBothNumberings) {
  picture("leftImg8bit/train/ulm/ulm_0_leftImg8bit.png");
  mask("gtFine/train/ulm/ulm_0_gtFine_labelIds.png", 26);
  picture("leftImg8bit/val/bonn/bonn_0_leftImg8bit.png");
  mask("gtFine/val/bonn/bonn_0_gtFine_labelTrainIds.png", 18);
  const SegmentationDataset training = open_segmentation(root(), Split::train);
  EXPECT_EQ(training.classes[static_cast<std::size_t>(label_of(training))], "car");
  const SegmentationDataset validation = open_segmentation(root(), Split::validation);
  EXPECT_EQ(validation.classes[static_cast<std::size_t>(label_of(validation))], "bicycle");
}

TEST_F(SegmentationData, PascalVocByItsLists) {
  picture("JPEGImages/2007_1.jpg");
  picture("JPEGImages/2007_2.jpg");
  mask("SegmentationClass/2007_1.png", 15);
  mask("SegmentationClass/2007_2.png", 0);
  write_text(root() / "ImageSets/Segmentation/train.txt", "2007_1\n2007_9\n");
  write_text(root() / "ImageSets/Segmentation/val.txt", "2007_2\r\n");
  const SegmentationDataset training = open_segmentation(root(), Split::train);
  EXPECT_EQ(training.size(), 1);
  EXPECT_EQ(training.classes[static_cast<std::size_t>(label_of(training))], "person");
  ASSERT_EQ(training.problems.size(), 1U);
  EXPECT_THAT(training.problems[0], HasSubstr("2007_9"));
  EXPECT_EQ(label_of(open_segmentation(root(), Split::validation)), 0);
}

TEST_F(SegmentationData, OnesOwnIsDividedByNameOrByList) {
  write_text(root() / "classes.txt", "sky\nearth\n");
  for (int i = 0; i < 20; ++i) {
    const std::string stem = std::to_string(100 + i);
    picture("images/" + stem + ".jpg");
    mask("masks/" + stem + ".png", i % 2);
  }
  EXPECT_EQ(open_segmentation(root(), Split::train).size(), 18);
  EXPECT_EQ(open_segmentation(root(), Split::validation).size(), 2);
  write_text(root() / "train.txt", "100\n101.jpg\n");
  EXPECT_EQ(open_segmentation(root(), Split::train).size(), 2);
}

TEST_F(SegmentationData, WhatHasNoPartnerIsNamed) {
  write_text(root() / "classes.txt", "sky\n");
  picture("images/train/a.jpg");
  mask("masks/train/a.png", 0);
  picture("images/train/alone.jpg");
  mask("masks/train/orphan.png", 0);
  const SegmentationDataset dataset = open_segmentation(root(), Split::train);
  EXPECT_EQ(dataset.size(), 1);
  ASSERT_EQ(dataset.problems.size(), 2U);
  EXPECT_THAT(dataset.problems[0], HasSubstr("alone.jpg: the picture has no label map"));
  EXPECT_THAT(dataset.problems[1], HasSubstr("orphan.png: the label map has no picture"));
}

TEST_F(SegmentationData, HostileMasksAreNamed) {
  write_text(root() / "classes.txt", "sky\nearth\n");
  for (const char* stem : {"a_size", "b_value", "c_colour", "d_jpeg", "e_torn"}) {
    picture(std::string("images/train/") + stem + ".png");
  }
  mask("masks/train/a_size.png", 0, 5, 3);
  mask("masks/train/b_value.png", 2);
  image::write_image(root() / "masks/train/c_colour.png", filled(4, 3, 3, 1));
  image::write_image(root() / "masks/train/d_jpeg.jpg", filled(4, 3, 1, 1));
  write_text(root() / "masks/train/e_torn.png", "\x89PNG\r\n\x1A\n and then nothing");
  const SegmentationDataset dataset = open_segmentation(root(), Split::train);
  ASSERT_EQ(dataset.size(), 5);
  const std::vector<std::vector<std::string>> parts = {{"a_size.png", "5 x 3", "4 x 3"},
                                                       {"b_value.png", "label 2", "2 classes"},
                                                       {"c_colour.png", "colours"},
                                                       {"d_jpeg.jpg", "PNG"},
                                                       {"e_torn.png", "not a sound PNG"}};
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string message = message_of([&] { dataset.load(static_cast<std::int64_t>(i)); });
    for (const std::string& part : parts[i]) EXPECT_THAT(message, HasSubstr(part));
  }
}

TEST_F(SegmentationData, FoldersThatAreNoDataSetAreRefused) {
  EXPECT_THAT(message_of([&] { open_segmentation(root() / "nowhere", Split::train); }),
              HasSubstr("no such folder"));
  EXPECT_THAT(message_of([&] { open_segmentation(root(), Split::train); }), HasSubstr("SegmentationClass"));
  picture("images/a.png");
  mask("masks/a.png", 0);
  EXPECT_THAT(message_of([&] { open_segmentation(root(), Split::train); }), HasSubstr("classes.txt"));
}

TEST(SegmentationGolden, ToyLabelsLoadAsTheReferenceLoadsThem) {
  const SegmentationDataset dataset = open_segmentation(test::golden("segmentation/toy"), Split::train);
  EXPECT_TRUE(dataset.problems.empty());
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const LabelledPicture sample = dataset.load(i);
    const image::Image stored = image::read_label_map(dataset.masks[static_cast<std::size_t>(i)]);
    for (std::size_t p = 0; p < stored.pixels.size(); ++p) {
      const int value = stored.pixels[p];
      ASSERT_EQ(sample.labels.pixels[p], value == 0 || value == 255 ? kIgnored : value - 1);
    }
  }
}

TEST(LabelMaps, PaletteFilesGiveTheirIndices) {
  for (const auto& path : test::golden_files("classification/data/images", "palette.png")) {
    const image::Image indices = image::read_label_map(path);
    EXPECT_EQ(indices.channels, 1);
    EXPECT_GT(*std::max_element(indices.pixels.begin(), indices.pixels.end()), 1);
  }
}

}  // namespace
}  // namespace spatialmamba::data
