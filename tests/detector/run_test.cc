// Mask R-CNN in the engine against the official system, from maps to masks, on every instruction set.
#include "detector/run.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "image/rle.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::detection {
namespace {

using test::as_double;
using test::golden;

constexpr double kFeatureTolerance = 1e-5;
constexpr double kScoreTolerance = 1e-4;
constexpr double kBoxTolerance = 1e-2;
constexpr double kMaskOverlap = 0.99;

std::filesystem::path nano() {
  return golden("detection/nano/weights.safetensors");
}

/// (N, H, W, C) as (N, C, H, W).
std::vector<double> channels_first(const Tensor& map) {
  const Shape& shape = map.shape();
  const std::vector<double> values = as_double(map);
  std::vector<double> moved(values.size());
  const auto pixels = static_cast<std::size_t>(shape[1] * shape[2]);
  const auto channels = static_cast<std::size_t>(shape[3]);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t image = i / (pixels * channels);
    moved[(image * channels + i % channels) * pixels + i / channels % pixels] = values[i];
  }
  return moved;
}

std::vector<double> widened(std::span<const float> values) {
  return {values.begin(), values.end()};
}

Extent extent_of(const nlohmann::json& height_width) {
  return {height_width.at(0), height_width.at(1)};
}

/// One evaluated batch of the golden data.
class EvaluatedBatch {
 public:
  explicit EvaluatedBatch(const std::filesystem::path& file)
      : tensors_(read_safetensors(file).tensors),
        meta_(nlohmann::json::parse(read_text(std::filesystem::path(file).replace_extension(".json")))
                  .at("images")),
        pixels_(tensors_.at("inputs").values<float>()) {
    for (const auto& image : meta_) extents_.push_back(extent_of(image.at("img_shape")));
  }

  void compare_with(Session& session) const {
    compare_maps(session.stages(images()));
    const kernels::Isa isa = kernels::isa_from_name(session.model().isa());
    const auto proposals = propose(session.regions(images()), extents_, {}, isa);
    for (std::size_t i = 0; i < proposals.size(); ++i) {
      const std::string name = fmt::format("img{}.", i);
      expect_near(coordinates(proposals[i].boxes), name + "proposals", kBoxTolerance);
      expect_near(proposals[i].scores, name + "proposal_scores", kScoreTolerance);
    }
    compare_heads(session);
    const auto answers = run(session, images(), extents_, {}, {});
    for (std::size_t i = 0; i < answers.size(); ++i) compare_image(answers[i], i, isa);
  }

 private:
  ImageBatch images() const {
    const Shape& shape = tensors_.at("inputs").shape();
    return {.data = pixels_.data(),
            .count = shape[0],
            .height = shape[2],
            .width = shape[3],
            .layout = ImageBatch::Layout::nchw};
  }

  void compare_maps(const TensorMap& maps) const {
    for (const auto& [name, map] : maps) {
      const Tensor* expected = tensors_.find(name);
      if (expected == nullptr) continue;
      EXPECT_LE(test::relative_deviation(channels_first(map), as_double(*expected)), kFeatureTolerance)
          << name;
    }
  }

  /// The box head on the reference's own boxes.
  void compare_heads(Session& session) const {
    if (!tensors_.contains("rois")) return;
    const std::vector<float> rois = tensors_.at("rois").values<float>();
    std::vector<Region> regions;
    for (std::size_t i = 0; i < rois.size(); i += 5) {
      const Box box{rois[i + 1], rois[i + 2], rois[i + 3], rois[i + 4]};
      regions.push_back(regions_of(std::span(&box, 1), static_cast<std::int64_t>(rois[i])).front());
    }
    const RegionAnswers answers = session.classify(regions);
    EXPECT_LE(test::relative_deviation(widened(answers.scores), as_double(tensors_.at("cls_score"))),
              kFeatureTolerance);
    EXPECT_LE(test::relative_deviation(widened(answers.deltas), as_double(tensors_.at("bbox_pred"))),
              kFeatureTolerance);
  }

  void compare_image(const NetworkAnswer& answer, std::size_t index, kernels::Isa isa) const {
    const std::string name = fmt::format("img{}.", index);
    SCOPED_TRACE(name);
    expect_near(coordinates(answer.found.boxes), name + "det_bboxes_input_scale", kBoxTolerance);
    expect_near(answer.found.scores, name + "det_scores", kScoreTolerance);
    EXPECT_EQ(answer.found.labels, tensors_.at(name + "det_labels").values<std::int64_t>());
    const Tensor* logits = tensors_.find(name + "mask_logits_of_label");
    if (logits != nullptr) {
      EXPECT_LE(test::relative_deviation(widened(answer.masks), as_double(*logits)), kScoreTolerance);
    }
    const auto& meta = meta_.at(index);
    const float sx = meta.at("scale_factor").at(0);
    const float sy = meta.at("scale_factor").at(1);
    std::vector<Box> boxes;
    for (const Box& box : answer.found.boxes) {
      boxes.push_back({box.x1 / sx, box.y1 / sy, box.x2 / sx, box.y2 / sy});
    }
    expect_near(coordinates(boxes), name + "final_bboxes", kBoxTolerance);
    compare_masks(answer, boxes, meta, isa);
  }

  static void compare_masks(const NetworkAnswer& answer, const std::vector<Box>& boxes,
                            const nlohmann::json& meta, kernels::Isa isa) {
    constexpr std::size_t kValues = kMaskSize * kMaskSize;
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      const auto& mask = meta.at("masks").at(i);
      const image::Rle expected = image::rle_from_text(mask.at("counts").get<std::string>(),
                                                       mask.at("size").at(0), mask.at("size").at(1));
      const image::Rle actual = outline(std::span(answer.masks).subspan(i * kValues, kValues), kMaskSize,
                                        boxes[i], extent_of(meta.at("ori_shape")), 0.5F, isa);
      EXPECT_TRUE(actual == expected || image::mask_iou(actual, expected, false) > kMaskOverlap) << i;
    }
  }

  void expect_near(std::span<const float> actual, const std::string& name, double tolerance) const {
    const std::vector<float> expected = tensors_.at(name).values<float>();
    ASSERT_EQ(actual.size(), expected.size()) << name;
    for (std::size_t i = 0; i < actual.size(); ++i) {
      EXPECT_NEAR(actual[i], expected[i], tolerance) << name << " " << i;
    }
  }

  TensorMap tensors_;
  nlohmann::json meta_;
  std::vector<float> pixels_;
  std::vector<Extent> extents_;
};

TEST(EngineDetector, IsTheReferenceOnEveryInstructionSet) {
  int compared = 0;
  for (const kernels::Isa isa : kernels::supported_isas()) {
    const std::string isa_name(kernels::name_of(isa));
    const Model model = Model::load(nano(), {.isa = isa_name});
    EXPECT_EQ(model.task(), Task::detection);
    for (const int threads : {1, 3}) {
      Session session(model, {.threads = threads});
      for (const auto& file : test::golden_files("detection/nano", ".safetensors")) {
        if (!file.stem().string().starts_with("eval_")) continue;
        SCOPED_TRACE(fmt::format("{} {}, {} threads", file.stem().string(), isa_name, threads));
        EvaluatedBatch(file).compare_with(session);
        ++compared;
      }
    }
  }
  EXPECT_GT(compared, 0);
}

class NanoSession : public testing::Test {
 protected:
  ImageBatch images(std::int64_t height, std::int64_t width) {
    pixels_.resize(static_cast<std::size_t>(height * width * 3));
    for (std::size_t i = 0; i < pixels_.size(); ++i) pixels_[i] = static_cast<float>(i % 17) / 8.0F - 1.0F;
    return {.data = pixels_.data(), .count = 1, .height = height, .width = width};
  }

  Session session_{Model::load(nano()), {.threads = 2}};
  std::vector<float> pixels_;
};

TEST_F(NanoSession, LooksAtAnyNumberOfBoxesAlike) {
  const ImageBatch image = images(96, 160);
  session_.regions(image);
  std::vector<Region> regions;
  for (int i = 0; i < 600; ++i) {
    const auto x = static_cast<float>(i % 40);
    regions.push_back({0, i % kPooledLevels, x, x, x + 30.0F, x + 50.0F});
  }
  const RegionAnswers all = session_.classify(regions);
  const std::vector<float> scores(all.scores.begin(), all.scores.end());
  const std::vector<std::int64_t> labels(70, 1);
  const auto some = std::span(regions).first(labels.size());
  const std::span<const float> view = session_.outline(some, labels);
  const std::vector<float> masks(view.begin(), view.end());
  const std::size_t classes = scores.size() / regions.size();
  for (const std::size_t i : {std::size_t{0}, std::size_t{69}, std::size_t{599}}) {
    const RegionAnswers one = session_.classify(std::span(regions).subspan(i, 1));
    EXPECT_LE(test::relative_deviation(widened(one.scores),
                                       widened(std::span(scores).subspan(i * classes, classes))),
              kFeatureTolerance);
    if (i >= labels.size()) continue;
    constexpr std::size_t kValues = kMaskSize * kMaskSize;
    EXPECT_LE(test::relative_deviation(
                  widened(session_.outline(std::span(regions).subspan(i, 1), std::span(labels).first(1))),
                  widened(std::span(masks).subspan(i * kValues, kValues))),
              kFeatureTolerance);
  }
  EXPECT_TRUE(session_.classify({}).scores.empty());
  EXPECT_TRUE(session_.outline({}, {}).empty());
}

TEST_F(NanoSession, RefusesWhatItCannotLookAt) {
  const Region region{.image = 0, .level = 0, .x1 = 0, .y1 = 0, .x2 = 9, .y2 = 9};
  EXPECT_THROW(session_.classify(std::span(&region, 1)), Error);  // before any image
  EXPECT_THROW(session_.regions(images(100, 96)), Error);
  EXPECT_THROW(session_.logits(images(96, 96)), Error);
  EXPECT_THROW(session_.scores(images(96, 96)), Error);
  session_.regions(images(64, 96));
  Region wrong = region;
  wrong.image = 1;
  EXPECT_THROW(session_.classify(std::span(&wrong, 1)), Error);
  wrong = region;
  wrong.level = kPooledLevels;
  EXPECT_THROW(session_.classify(std::span(&wrong, 1)), Error);
  const std::int64_t label = session_.model().num_classes();
  EXPECT_THROW(session_.outline(std::span(&region, 1), std::span(&label, 1)), Error);
  EXPECT_THROW(session_.outline(std::span(&region, 1), {}), Error);
}

}  // namespace
}  // namespace spatialmamba::detection
