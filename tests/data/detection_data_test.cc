// Loading and augmenting for detection, against the reference's pipelines with its own draws replayed.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "data/detection_dataset.h"
#include "image/codec.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"
#include "support/temporary_folder.h"

namespace spatialmamba::data {
namespace {

using nlohmann::json;
using test::golden;

json golden_json(const std::string& name) {
  return json::parse(read_text(golden("detection/" + name)));
}

DetectionDataset open(const std::string& folder, const DetectionDatasetOptions& options = {}) {
  auto coco =
      std::make_shared<const CocoFile>(read_coco(golden("detection/" + folder + "/annotations.json")));
  return detection_dataset(coco, golden("detection/" + folder + "/images"), options);
}

std::vector<float> flat(const std::vector<detection::Box>& boxes) {
  const auto values = detection::coordinates(boxes);
  return {values.begin(), values.end()};
}

std::vector<detection::Box> boxes_of(const DetectionPicture& sample) {
  std::vector<detection::Box> boxes;
  for (const LabelledObject& object : sample.objects) boxes.push_back(object.box);
  return boxes;
}

void expect_near(const std::vector<float>& actual, const std::vector<float>& expected) {
  ASSERT_EQ(actual.size(), expected.size());
  for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_NEAR(actual[i], expected[i], 1e-3F) << i;
}

/// All masks of a picture, one behind the other.
std::vector<std::uint8_t> masks_of(const DetectionPicture& sample) {
  std::vector<std::uint8_t> all;
  for (const LabelledObject& object : sample.objects) {
    all.insert(all.end(), object.mask.pixels.begin(), object.mask.pixels.end());
  }
  return all;
}

TEST(DetectionDataset, KeepsAndDropsAsTheReference) {
  const json golden_cases = golden_json("dataset/parsed.json");
  const auto classes = golden_cases.at("classes").get<std::vector<std::string>>();
  for (const auto& [name, expected] : golden_cases.at("cases").items()) {
    SCOPED_TRACE(name);
    const DetectionDataset dataset =
        open("dataset", {.classes = classes, .only_annotated = name == "train_filter"});
    ASSERT_EQ(dataset.images.size(), expected.at("images").size());
    for (const auto& [id, label] : expected.at("cat2label").items()) {
      EXPECT_EQ(dataset.category_ids.at(label.get<std::size_t>()), std::stoll(id));
    }
    for (std::size_t i = 0; i < dataset.images.size(); ++i) {
      const json& image = expected.at("images").at(i);
      EXPECT_EQ(dataset.images[i].id, image.at("img_id").get<std::int64_t>());
      const auto& objects = dataset.images[i].objects;
      ASSERT_EQ(objects.size(), image.at("instances").size()) << i;
      for (std::size_t k = 0; k < objects.size(); ++k) {
        const json& instance = image.at("instances").at(k);
        expect_near(flat({objects[k].box}), instance.at("bbox").get<std::vector<float>>());
        EXPECT_EQ(objects[k].label, instance.at("label").get<std::int64_t>());
        EXPECT_EQ(objects[k].crowd ? 1 : 0, instance.at("ignore_flag").get<int>());
      }
    }
  }
}

TEST(DetectionDataset, LoadsAsTheReference) {
  const TensorMap tensors = read_safetensors(golden("detection/dataset/loaded.safetensors")).tensors;
  const auto classes = golden_json("dataset/parsed.json").at("classes").get<std::vector<std::string>>();
  const DetectionDataset dataset = open("dataset", {.classes = classes});
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    const std::string name = dataset.images[static_cast<std::size_t>(i)].path.filename().string() + ".";
    SCOPED_TRACE(name);
    const DetectionPicture sample = dataset.load(i);
    expect_near(flat(boxes_of(sample)), tensors.at(name + "bboxes").values<float>());
    EXPECT_EQ(masks_of(sample), tensors.at(name + "masks").values<std::uint8_t>());
    const auto labels = tensors.at(name + "labels").values<std::int64_t>();
    const auto flags = tensors.at(name + "ignore_flags").values<std::uint8_t>();
    ASSERT_EQ(sample.objects.size(), labels.size());
    for (std::size_t k = 0; k < labels.size(); ++k) {
      EXPECT_EQ(sample.objects[k].label, labels[k]);
      EXPECT_EQ(sample.objects[k].ignored, flags[k] != 0) << k;
    }
  }
}

TEST(DetectionDataset, APictureOfAnotherSizeIsNamed) {
  test::TemporaryFolder folder;
  DetectionDataset dataset = open("dataset");
  dataset.images[0].path = folder.path() / "small.png";
  image::write_image(dataset.images[0].path, image::Image(3, 4, 3));
  try {
    dataset.load(0);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("small.png: the picture is 3x4"), std::string::npos)
        << error.what();
  }
  dataset.images[0].path = folder.path() / "missing.png";
  EXPECT_THROW(dataset.load(0), Error);
}

TEST(DetectionDataset, BatchesAreOfOneOrientationAsTheReferenceForms) {
  const json expected = golden_json("dataset/parsed.json").at("aspect_ratio_batches");
  std::vector<DetectionImage> images;
  for (const json& size : expected.at("width_height")) {
    DetectionImage& image = images.emplace_back();
    image.width = size.at(0);
    image.height = size.at(1);
  }
  const auto order = expected.at("sampler_order").get<std::vector<std::int64_t>>();
  using Batches = std::vector<std::vector<std::int64_t>>;
  const std::int64_t size = expected.at("batch_size");
  EXPECT_EQ(batches_by_orientation(order, images, size, false), expected.at("batches").get<Batches>());
  EXPECT_EQ(batches_by_orientation(order, images, size, true), expected.at("drop_last").get<Batches>());
}

/// The reference's draws, one after the other.
class Replay {
 public:
  explicit Replay(const json& draws) : draws_(draws) {}
  std::int64_t operator()(std::int64_t low, std::int64_t high) {
    const json& value = draws_.at(next_++).at("value");
    const std::int64_t drawn = value.is_number() ? value.get<std::int64_t>() : value.is_string() ? 1 : 0;
    EXPECT_TRUE(low <= drawn && drawn < high) << "draw " << next_ - 1;
    return drawn;
  }
  bool finished() const { return next_ == draws_.size(); }

 private:
  const json& draws_;
  std::size_t next_ = 0;
};

std::vector<int> short_sides(const json& resize) {
  std::vector<int> sides;
  for (const json& scale : resize.at("scales"))
    sides.push_back(std::min(scale.at(0).get<int>(), scale.at(1).get<int>()));
  return sides;
}

/// The 3x pipeline as a golden case states it.
DetectionTransform multi_scale(const json& steps) {
  DetectionTransform transform;
  const json& choices = steps.at(1).at("transforms");
  const json& last = choices.at(0).at(0);
  transform.short_sides = short_sides(last);
  transform.long_side =
      std::max(last.at("scales").at(0).at(0).get<int>(), last.at("scales").at(0).at(1).get<int>());
  transform.crop_short_sides = short_sides(choices.at(1).at(0));
  transform.crop_low = choices.at(1).at(1).at("crop_size").at(0);
  transform.crop_high = choices.at(1).at(1).at("crop_size").at(1);
  return transform;
}

/// One step of another case.
DetectionPicture run_step(const DetectionPicture& sample, const json& step, Replay& replay) {
  if (step.at("type") == "Resize") {
    const int first = step.at("scale").at(0);
    const int second = step.at("scale").at(1);
    return step.at("keep_ratio") ? fit(sample, std::max(first, second), std::min(first, second))
                                 : resize(sample, first, second);
  }
  if (step.at("type") == "RandomFlip") return replay(0, 2) == 1 ? flip(sample) : sample;
  image::Rect part{.width = step.at("crop_size").at(1), .height = step.at("crop_size").at(0)};
  part.top = static_cast<int>(replay(0, sample.picture.height - part.height + 1));
  part.left = static_cast<int>(replay(0, sample.picture.width - part.width + 1));
  return crop(sample, part);
}

/// Pixels of a picture as the reference stores them: blue, green, red.
std::vector<std::uint8_t> blue_first(const image::Image& picture) {
  std::vector<std::uint8_t> pixels = picture.pixels;
  for (std::size_t i = 0; i + 2 < pixels.size(); i += 3) std::swap(pixels[i], pixels[i + 2]);
  return pixels;
}

TEST(DetectionTransform, EqualsTheReferenceStepByStep) {
  const json cases = golden_json("transforms/cases.json").at("cases");
  const TensorMap tensors = read_safetensors(golden("detection/transforms/cases.safetensors")).tensors;
  const DetectionDataset dataset = open("transforms/toy");
  int compared = 0;
  for (const json& one : cases) {
    const std::string tag = one.at("tag");
    const json& steps = one.at("transforms");
    // Padding belongs to the batch here.
    const bool padded = std::ranges::any_of(steps, [](const json& step) { return step.at("type") == "Pad"; });
    if (padded) continue;
    SCOPED_TRACE(tag);
    const auto found = std::ranges::find_if(dataset.images, [&](const DetectionImage& image) {
      return image.path.filename() == one.at("file").get<std::string>();
    });
    ASSERT_NE(found, dataset.images.end());
    DetectionPicture sample = dataset.load(found - dataset.images.begin());
    Replay replay(one.at("random_draws"));
    if (steps.size() > 1 && steps.at(1).at("type") == "RandomChoice") {
      sample = apply(multi_scale(steps), sample, std::ref(replay));
    } else {
      for (const json& step : steps) sample = run_step(sample, step, replay);
    }
    EXPECT_TRUE(replay.finished());
    EXPECT_EQ(blue_first(sample.picture), tensors.at(tag + ".img").values<std::uint8_t>());
    expect_near(flat(boxes_of(sample)), tensors.at(tag + ".gt_bboxes").values<float>());
    EXPECT_EQ(masks_of(sample), tensors.at(tag + ".gt_masks").values<std::uint8_t>());
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

}  // namespace
}  // namespace spatialmamba::data
