#include "data/dataset.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "data/idx_files.h"
#include "image/codec.h"
#include "spatialmamba/error.h"
#include "support/temporary_folder.h"

namespace spatialmamba::data {
namespace {

using test::TemporaryFolder;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::ThrowsMessage;

void write_picture(const std::filesystem::path& path, int level, int channels = 3) {
  image::Image picture(6, 4, channels);
  std::fill(picture.pixels.begin(), picture.pixels.end(), static_cast<std::uint8_t>(level));
  write_file(path, path.extension() == ".png" ? image::encode_png(picture) : image::encode_jpeg(picture));
}

void write_class_folders(const std::filesystem::path& folder) {
  write_picture(folder / "zebra" / "b.JPEG", 10);
  write_picture(folder / "zebra" / "a.jpg", 20);
  write_picture(folder / "ant" / "deep" / "c.png", 30);
  write_picture(folder / "ant" / "grey.png", 40, 1);
  write_text(folder / "ant" / "notes.txt", "not a picture");
  write_text(folder / "README", "not a class");
}

TEST(ImageFolder, SortsClassesAndFilesByName) {
  const TemporaryFolder folder;
  write_class_folders(folder.path());
  const Dataset dataset = image_folder(folder.path());
  EXPECT_THAT(dataset.classes, ElementsAre("ant", "zebra"));
  EXPECT_THAT(dataset.labels, ElementsAre(0, 0, 1, 1));
  EXPECT_THAT(dataset.name(0), testing::EndsWith("ant/deep/c.png"));
  EXPECT_THAT(dataset.name(2), testing::EndsWith("zebra/a.jpg"));
  EXPECT_EQ(dataset.load(0).pixels[0], 30);
  EXPECT_EQ(dataset.load(1).channels, 3);
  EXPECT_NEAR(dataset.load(2).pixels[0], 20, 1);
}

TEST(ImageFolder, ChannelsOnDemand) {
  const TemporaryFolder folder;
  write_class_folders(folder.path());
  EXPECT_EQ(image_folder(folder.path(), {.channels = 1, .classes = {}}).load(0).channels, 1);
  EXPECT_EQ(image_folder(folder.path(), {.channels = 0, .classes = {}}).load(1).channels, 1);
}

TEST(ImageFolder, ValidationFollowsTheTrainingClasses) {
  const TemporaryFolder folder;
  write_class_folders(folder.path());
  const Dataset dataset = image_folder(folder.path(), {.channels = 3, .classes = {"zebra", "yak", "ant"}});
  EXPECT_THAT(dataset.labels, ElementsAre(2, 2, 0, 0));
  EXPECT_THAT([&] { image_folder(folder.path(), {.channels = 3, .classes = {"ant"}}); },
              ThrowsMessage<Error>(HasSubstr("is of class 'zebra', which is not one of the 1 expected")));
}

TEST(ImageFolder, SaysWhatIsMissing) {
  const TemporaryFolder folder;
  EXPECT_THAT([&] { image_folder(folder.path()); },
              ThrowsMessage<Error>(HasSubstr("expected a subfolder for each class")));
  EXPECT_THAT([&] { image_folder(folder.path() / "none"); },
              ThrowsMessage<Error>(HasSubstr("none: expected a folder")));
  write_text(folder.path() / "cat" / "a.txt", "x");
  EXPECT_THAT([&] { image_folder(folder.path()); },
              ThrowsMessage<Error>(HasSubstr("cat: class folder without")));
}

TEST(ImageFolder, ABrokenFileIsNamedWhenItIsLoaded) {
  const TemporaryFolder folder;
  write_class_folders(folder.path());
  write_text(folder.path() / "ant" / "broken.jpg", "not a JPEG");
  const Dataset dataset = image_folder(folder.path());
  EXPECT_THAT([&] { dataset.load(0); },
              ThrowsMessage<Error>(HasSubstr("ant/broken.jpg: expected a JPEG or PNG")));
}

TEST(CsvDataset, ReadsNamesAndLabels) {
  const TemporaryFolder folder;
  write_picture(folder.path() / "pictures" / "a, b.png", 50);
  write_text(folder.path() / "list.csv",
             "\xEF\xBB\xBFlabel,comment,filename\r\n10,x,\"pictures/a, b.png\"\r\n\r\n9,\"say "
             "\"\"hi\"\"\",missing.png\r\n");
  const Dataset dataset = csv_dataset(folder.path() / "list.csv");
  EXPECT_THAT(dataset.classes, ElementsAre("9", "10"));  // by number
  EXPECT_THAT(dataset.labels, ElementsAre(1, 0));
  EXPECT_EQ(dataset.load(0).pixels[0], 50);
  EXPECT_THAT([&] { dataset.load(1); }, ThrowsMessage<Error>(HasSubstr("missing.png")));
}

TEST(CsvDataset, SortsOtherLabelsByName) {
  const TemporaryFolder folder;
  write_text(folder.path() / "list.csv", "filename,label\na.png,dog\nb.png,10\nc.png,ant");
  EXPECT_THAT(csv_dataset(folder.path() / "list.csv").classes, ElementsAre("10", "ant", "dog"));
}

TEST(CsvDataset, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& content, const std::string& expected) {
    write_text(folder.path() / "list.csv", content);
    EXPECT_THAT([&] { csv_dataset(folder.path() / "list.csv"); }, ThrowsMessage<Error>(HasSubstr(expected)));
  };
  message("", "found an empty file");
  message("file,label\na.png,1\n", "found no column 'filename'");
  message("filename,class\na.png,1\n", "found no column 'label'");
  message("filename,label\n", "lists no pictures");
  message("filename,label\na.png,1\n\nb.png\n", "line 4 lacks a filename or a label");
  message("filename,label\na.png,\n", "line 2 lacks");
}

TEST(FashionMnist, ReadsSmallFiles) {
  const TemporaryFolder folder;
  test::write_small_fashion_mnist(folder.path(), "train", 23, 5);
  test::write_small_fashion_mnist(folder.path(), "t10k", 7, 5);
  const Dataset train = open_dataset(folder.path(), Split::train, {.channels = 0, .classes = {}});
  EXPECT_EQ(train.size(), 23);
  EXPECT_EQ(train.labels[12], 2);
  EXPECT_EQ(train.classes.size(), 10U);
  EXPECT_EQ(train.load(17).pixels, std::vector<std::uint8_t>(25, 17));
  EXPECT_EQ(train.name(17), "train #17");
  const Dataset test_part =
      open_dataset(folder.path(), Split::validation, {.channels = 3, .classes = train.classes});
  EXPECT_EQ(test_part.size(), 7);
  EXPECT_EQ(test_part.load(3).channels, 3);
}

TEST(FashionMnist, TheRealOneWhereItIsInstalled) {
  const auto folder = default_fashion_mnist_folder();
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not installed";
  const Dataset dataset = fashion_mnist(folder, false, {.channels = 1, .classes = {}});
  EXPECT_EQ(dataset.size(), 10'000);
  EXPECT_EQ(std::count(dataset.labels.begin(), dataset.labels.end(), 9), 1000);
  EXPECT_EQ(dataset.classes[static_cast<std::size_t>(dataset.labels[0])], "Ankle boot");
  EXPECT_EQ(dataset.load(0).width, 28);
}

TEST(FashionMnist, SaysWhatIsWrong) {
  const TemporaryFolder folder;
  EXPECT_THAT(
      [&] { fashion_mnist(folder.path(), true); },
      ThrowsMessage<Error>(HasSubstr("expected a Fashion-MNIST folder with train-images-idx3-ubyte.gz")));
  test::write_small_fashion_mnist(folder.path(), "train", 4, 3);
  test::write_gzip(folder.path() / "train-labels-idx1-ubyte.gz", test::idx_bytes({3}, "\1\2\3"));
  EXPECT_THAT([&] { fashion_mnist(folder.path(), true); },
              ThrowsMessage<Error>(HasSubstr("3 labels for the 4 pictures")));
  test::write_gzip(folder.path() / "train-labels-idx1-ubyte.gz", test::idx_bytes({4}, "\1\2\3\12"));
  EXPECT_THAT([&] { fashion_mnist(folder.path(), true); },
              ThrowsMessage<Error>(HasSubstr("label 10 of picture 3")));
  test::write_small_fashion_mnist(folder.path(), "train", 4, 3);
  EXPECT_THAT([&] { fashion_mnist(folder.path(), true, {.channels = 1, .classes = {"cat"}}); },
              ThrowsMessage<Error>(HasSubstr("does not have the 1 expected classes")));
}

TEST(OpenDataset, FindsOutWhatAFolderHolds) {
  const TemporaryFolder folder;
  write_class_folders(folder.path() / "split" / "train");
  write_class_folders(folder.path() / "split" / "test");
  EXPECT_EQ(open_dataset(folder.path() / "split", Split::train).size(), 4);
  EXPECT_EQ(open_dataset(folder.path() / "split", Split::validation).size(), 4);
  EXPECT_EQ(open_dataset(folder.path() / "split" / "train", Split::validation).size(), 4);
  EXPECT_THAT([&] { open_dataset(folder.path() / "split" / "train", Split::train); },
              ThrowsMessage<Error>(HasSubstr("expected train/ with a folder for each class, train.csv")));
  write_text(folder.path() / "csv" / "train.csv", "filename,label\na.png,1\n");
  EXPECT_EQ(open_dataset(folder.path() / "csv", Split::train).size(), 1);
  EXPECT_EQ(open_dataset(folder.path() / "csv" / "train.csv", Split::train).size(), 1);
  EXPECT_THAT([&] { open_dataset(folder.path() / "nowhere", Split::train); },
              ThrowsMessage<Error>(HasSubstr("there is no such")));
}

TEST(OpenDataset, TheTrainingFoldersAreNotTakenForClasses) {
  const TemporaryFolder folder;
  write_class_folders(folder.path() / "train");
  EXPECT_THAT([&] { open_dataset(folder.path(), Split::validation); },
              ThrowsMessage<Error>(HasSubstr("expected val/")));
}

}  // namespace
}  // namespace spatialmamba::data
