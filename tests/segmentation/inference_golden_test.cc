// Label maps, sliding window and test-time augmentation against mmsegmentation, with the network for training
// and with the engine.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <regex>

#include "data/segmentation_dataset.h"
#include "image/codec.h"
#include "nn/golden_tensors.h"
#include "segmentation/nano.h"
#include "spatialmamba/engine.h"
#include "train/segmentation_evaluate.h"

namespace spatialmamba::test {
namespace {

using nlohmann::json;
using segmentation::PredictOptions;

segmentation::Network torch_network() {
  const auto model = std::make_shared<nn::Segmentor>(nano_segmentor());
  return [model, network = train::network_of(**model)](const segmentation::NetworkInput& input) {
    return network(input);
  };
}

segmentation::Network engine_network() {
  const auto session =
      std::make_shared<Session>(Model::build(nano_weights(), {}, "nano"), SessionOptions{.threads = 1});
  return [session](const segmentation::NetworkInput& input) {
    const ScoreMaps scores = session->scores(
        {.data = input.values.data(), .count = 1, .height = input.height, .width = input.width});
    return segmentation::ScoreMap{
        scores.height, scores.width, scores.classes, {scores.values.begin(), scores.values.end()}};
  };
}

struct Backend {
  const char* name;
  segmentation::Network (*network)();
};

class SegmentationGolden : public testing::TestWithParam<Backend> {
 protected:
  segmentation::Network network_ = GetParam().network();
};
INSTANTIATE_TEST_SUITE_P(Networks, SegmentationGolden,
                         testing::Values(Backend{"torch", torch_network}, Backend{"engine", engine_network}),
                         [](const auto& test) { return test.param.name; });

PredictOptions nano_options() {
  const json config = golden_json("segmentation/nano/config.json");
  for (const json& step : config.at("test_pipeline")) {
    if (step.at("type") == "Resize") {
      return {.long_side = step.at("scale").at(0), .short_side = step.at("scale").at(1)};
    }
  }
  ADD_FAILURE() << "no Resize in the test pipeline";
  return {};
}

/// The pictures of the golden toy data set that the goldens were made with.
data::SegmentationDataset toy() {
  data::SegmentationDataset dataset =
      data::open_segmentation(golden("segmentation/toy"), data::Split::validation);
  dataset.classes.resize(static_cast<std::size_t>(infer_segmentor(nano_weights().tensors).num_classes));
  return dataset;
}

/// (1, C, H, W) or (C, H, W) -> rows of scores.
std::vector<double> rows_of(const Tensor& tensor) {
  torch::Tensor scores = nn::to_torch(tensor);
  if (scores.dim() == 4) scores = scores[0];
  return as_double(nn::from_torch(scores.permute({1, 2, 0})));
}

std::vector<double> all_rows(const segmentation::ScoreRows& rows) {
  std::vector<double> values;
  std::vector<float> row(rows.row_values());
  for (std::int64_t y = 0; y < rows.height; ++y) {
    rows.read(y, row);
    values.insert(values.end(), row.begin(), row.end());
  }
  return values;
}

std::int64_t different_pixels(const image::Image& labels, const Tensor& expected) {
  const auto values = expected.values<std::uint8_t>();
  EXPECT_EQ(values.size(), labels.pixels.size());
  std::int64_t count = 0;
  for (std::size_t i = 0; i < values.size(); ++i) count += values[i] != labels.pixels[i] ? 1 : 0;
  return count;
}

TEST_P(SegmentationGolden, LabelMapsThroughTheTestPipeline) {
  const Weights expected = read_safetensors(golden("segmentation/nano/test_pipeline.safetensors"));
  const json facts = golden_json("segmentation/nano/test_pipeline.json");
  const data::SegmentationDataset dataset = toy();
  train::SegmentationEvaluateOptions how{.predict = nano_options()};
  how.observe = [&](std::int64_t i, const data::LabelledPicture& sample, const image::Image& labels) {
    SCOPED_TRACE(i);
    const std::string prefix = std::to_string(i) + ".";
    if (!expected.tensors.contains(prefix + "pred")) return;
    EXPECT_EQ(different_pixels(sample.labels, expected.tensors.at(prefix + "gt")), 0);
    EXPECT_LE(different_pixels(labels, expected.tensors.at(prefix + "pred")), 2);
    const Tensor* logits = expected.tensors.find(prefix + "seg_logits_at_ori_shape");
    if (logits == nullptr) return;
    const auto scores = segmentation::predict_scores(sample.picture, how.predict, network_);
    EXPECT_LE(relative_deviation(all_rows(scores), rows_of(*logits)), 1e-5);
  };
  const auto result = train::evaluate_segmentation(network_, dataset, how);
  const metrics::SegmentationScores scores = result->meter.scores();
  EXPECT_EQ(result->meter.images(), static_cast<std::int64_t>(facts.at("images").size()));
  EXPECT_NEAR(metrics::percent_of(scores.mean_iou), facts.at("metrics").at("mIoU").get<double>(), 0.01);
  EXPECT_NEAR(metrics::percent_of(scores.mean_accuracy), facts.at("metrics").at("mAcc").get<double>(), 0.01);
  EXPECT_NEAR(metrics::percent_of(scores.pixel_accuracy), facts.at("metrics").at("aAcc").get<double>(), 0.01);
}

TEST_P(SegmentationGolden, SlidingWindow) {
  static const std::regex kName(".*slide_crop(\\d+)_stride(\\d+)\\.safetensors");
  for (const std::filesystem::path& path : golden_files("segmentation/nano", ".safetensors")) {
    std::smatch match;
    const std::string name = path.filename().string();
    if (!std::regex_match(name, match, kName)) continue;
    const Weights file = read_safetensors(path);
    const segmentation::Window window{.size = std::stoi(match[1]), .stride = std::stoi(match[2])};
    for (const auto& [key, tensor] : file.tensors) {
      if (!key.ends_with(".input")) continue;
      SCOPED_TRACE(key);
      const torch::Tensor input = nn::to_torch(tensor)[0].permute({1, 2, 0});
      const auto crop = [&](const image::Rect& part) {
        const torch::Tensor cut =
            input.slice(0, part.top, part.top + part.height).slice(1, part.left, part.left + part.width);
        return segmentation::NetworkInput{part.height, part.width, nn::from_torch(cut).values<float>()};
      };
      const auto rows = segmentation::slide(crop, input.size(0), input.size(1), window, network_);
      const Tensor& expected = file.tensors.at(key.substr(0, key.size() - 5) + "logits");
      EXPECT_LE(relative_deviation(all_rows(rows), rows_of(expected)), 1e-5);
    }
  }
}

TEST_P(SegmentationGolden, TestTimeAugmentation) {
  const data::SegmentationDataset dataset = toy();
  for (const std::filesystem::path& path : golden_files("segmentation/nano", ".safetensors")) {
    const std::string stem = path.stem().string();
    if (!stem.starts_with("tta_")) continue;
    SCOPED_TRACE(stem);
    const json facts = golden_json("segmentation/nano/" + stem + ".json");
    PredictOptions options = segmentation::augmented(nano_options());
    if (facts.at("ratios").is_array()) options.ratios = facts.at("ratios").get<std::vector<double>>();
    const Weights expected = read_safetensors(path);
    const image::Image picture = image::read_image(dataset.pictures[facts.at("index").get<std::size_t>()]);
    const auto scores = segmentation::predict_scores(picture, options, network_);
    EXPECT_LE(relative_deviation(all_rows(scores), rows_of(expected.tensors.at("mean_softmax"))), 1e-4);
    EXPECT_LE(different_pixels(segmentation::predict_labels(picture, options, network_),
                               expected.tensors.at("pred")),
              2);
  }
}

}  // namespace
}  // namespace spatialmamba::test
