// Scenes of garments: what is written agrees with itself, depends on the seed alone, refuses what cannot be.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "base/file.h"
#include "data/fashion_scenes.h"
#include "data/idx_files.h"
#include "data/scene_background.h"
#include "data/scene_files.h"
#include "image/codec.h"
#include "spatialmamba/error.h"
#include "support/temporary_folder.h"

namespace spatialmamba::test {
namespace {

namespace fs = std::filesystem;

/// Fashion-MNIST's files with filled squares in a black frame as garments.
void write_squares(const fs::path& folder) {
  constexpr std::uint32_t kCount = 40;
  constexpr std::uint32_t kSide = 28;
  for (const char* part : {"train", "t10k"}) {
    std::string pixels;
    std::string labels;
    for (std::uint32_t i = 0; i < kCount; ++i) {
      for (std::uint32_t p = 0; p < kSide * kSide; ++p) {
        const bool inside = p % kSide >= 4 && p % kSide < 24 && p / kSide >= 4 && p / kSide < 24;
        pixels += static_cast<char>(inside ? 100 + i : 0);
      }
      labels += static_cast<char>(i % 10);
    }
    write_gzip(folder / (std::string(part) + "-images-idx3-ubyte.gz"),
               idx_bytes({kCount, kSide, kSide}, pixels));
    write_gzip(folder / (std::string(part) + "-labels-idx1-ubyte.gz"), idx_bytes({kCount}, labels));
  }
}

class FashionScenes : public testing::Test {
 protected:
  void SetUp() override { write_squares(garments()); }
  fs::path garments() const { return folder_.path(); }
  fs::path out(const char* name) const { return folder_.path() / name; }
  void write(const char* name, const data::SceneSetOptions& options, int threads = 2) {
    ThreadPool pool(threads);
    data::write_fashion_scenes(out(name), garments(), data::built_in_photographs(), options,
                               pool.parallel_for());
  }

 private:
  TemporaryFolder folder_;
};

std::vector<fs::path> files_below(const fs::path& folder) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file()) files.push_back(fs::relative(entry.path(), folder));
  }
  std::sort(files.begin(), files.end());
  return files;
}

/// The mask of an uncompressed RLE, row-major.
std::vector<bool> decode_rle(const nlohmann::json& rle) {
  const auto height = rle.at("size").at(0).get<std::size_t>();
  const auto width = rle.at("size").at(1).get<std::size_t>();
  std::vector<bool> mask(height * width);
  std::size_t at = 0;
  bool inside = false;
  for (const std::size_t length : rle.at("counts").get<std::vector<std::size_t>>()) {
    for (std::size_t i = 0; i < length; ++i, ++at) mask.at(at % height * width + at / height) = inside;
    inside = !inside;
  }
  EXPECT_EQ(at, mask.size());
  return mask;
}

TEST_F(FashionScenes, InstancesAgreeWithTheLabelMaps) {
  write("set", {.train = 6, .validation = 3, .size = 48, .seed = 5});
  for (const std::string part : {"train", "val"}) {
    const auto coco = nlohmann::json::parse(read_text(out("set") / ("instances_" + part + ".json")));
    EXPECT_EQ(coco.at("images").size(), part == "train" ? 6U : 3U);
    EXPECT_EQ(coco.at("categories").size(), 10U);
    for (const auto& image : coco.at("images")) {
      const auto name = image.at("file_name").get<std::string>();
      const image::Image picture = image::read_image(out("set") / "images" / part / name);
      image::Image labels = image::read_image(out("set") / "annotations" / part / name, {.channels = 0});
      EXPECT_EQ(labels.channels, 1);
      EXPECT_EQ(picture.width, image.at("width"));
      EXPECT_EQ(labels.height, image.at("height"));
      for (const auto& object : coco.at("annotations")) {
        if (object.at("image_id") != image.at("id")) continue;
        const std::vector<bool> mask = decode_rle(object.at("segmentation"));
        EXPECT_EQ(std::count(mask.begin(), mask.end(), true), object.at("area").get<std::int64_t>());
        int left = labels.width;
        int right = 0;
        int top = labels.height;
        int bottom = 0;
        for (int i = 0; i < labels.width * labels.height; ++i) {
          if (!mask[static_cast<std::size_t>(i)]) continue;
          std::uint8_t& label = labels.pixels[static_cast<std::size_t>(i)];
          EXPECT_EQ(label, object.at("category_id").get<int>());
          label = 0;  // so that a pixel of two objects, or of none, is seen
          left = std::min(left, i % labels.width);
          right = std::max(right, i % labels.width + 1);
          top = std::min(top, i / labels.width);
          bottom = std::max(bottom, i / labels.width + 1);
        }
        EXPECT_EQ(object.at("bbox"), nlohmann::json({left, top, right - left, bottom - top}));
      }
      EXPECT_TRUE(std::all_of(labels.pixels.begin(), labels.pixels.end(), [](auto v) { return v == 0; }))
          << name;
    }
  }
}

TEST_F(FashionScenes, TheSeedAloneDecides) {
  write("a", {.train = 4, .validation = 2, .size = 40, .seed = 1}, 1);
  write("b", {.train = 4, .validation = 2, .size = 40, .seed = 1}, 3);
  write("c", {.train = 4, .validation = 2, .size = 40, .seed = 2});
  const auto files = files_below(out("a"));
  EXPECT_EQ(files, files_below(out("b")));
  for (const fs::path& file : files)
    EXPECT_EQ(read_file(out("a") / file), read_file(out("b") / file)) << file;
  EXPECT_NE(read_file(out("a") / "images/train/000001.png"), read_file(out("c") / "images/train/000001.png"));
  EXPECT_NE(read_file(out("a") / "images/train/000001.png"), read_file(out("a") / "images/val/000001.png"));
}

TEST_F(FashionScenes, EveryGarmentStaysVisible) {
  const data::Dataset garments_set = data::fashion_mnist(garments(), true, {.channels = 1});
  const data::SceneComposer composer(garments_set, {}, 64);
  std::set<std::int64_t> classes;
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    const data::Scene scene = composer.compose(Random(seed));
    EXPECT_GE(scene.classes.size(), 2U);
    const std::set<std::uint8_t> owners(scene.owners.pixels.begin(), scene.owners.pixels.end());
    for (std::size_t i = 0; i < scene.classes.size(); ++i)
      EXPECT_TRUE(owners.contains(static_cast<std::uint8_t>(i + 1)));
    EXPECT_LE(*owners.rbegin(), scene.classes.size());
    classes.insert(scene.classes.begin(), scene.classes.end());
  }
  EXPECT_EQ(classes.size(), 10U);
}

TEST_F(FashionScenes, RefusesWhatCannotBe) {
  EXPECT_THROW(write("x", {.size = 8}), UsageError);
  EXPECT_THROW(write("x", {.train = -1}), UsageError);
  write("x", {.train = 2, .validation = 0, .size = 32});
  write("x", {.train = 2, .validation = 0, .size = 32});  // the same set again
  EXPECT_THROW(write("x", {.train = 1, .validation = 0, .size = 32}), Error);
  EXPECT_THROW(data::write_fashion_scenes(out("y"), out("nowhere"), {}, {}, {}), Error);
}

TEST(BuiltInPhotographs, AreInColour) {
  const auto pictures = data::built_in_photographs();
  EXPECT_GE(pictures.size(), 3U);
  for (const image::Image& picture : pictures) {
    EXPECT_EQ(picture.channels, 3);
    EXPECT_GE(std::min(picture.width, picture.height), 128);
  }
}

}  // namespace
}  // namespace spatialmamba::test
