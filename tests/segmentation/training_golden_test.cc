// Training against mmsegmentation: losses with all gradients, training traces, learning rates, decay.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <map>
#include <regex>
#include <set>

#include "nn/golden_tensors.h"
#include "segmentation/nano.h"
#include "train/recipe.h"
#include "train/schedule.h"
#include "train/segmentation_loss.h"
#include "train/segmentation_trainer.h"
#include "train/updater.h"

namespace spatialmamba::test {
namespace {

using nlohmann::json;

TEST(SegmentationTrainingGolden, CrossEntropyOverAllPixels) {
  const Weights file = read_safetensors(golden("segmentation/components/losses.safetensors"));
  const json facts = golden_json("segmentation/components/losses.json");
  for (const auto& [name, expected] : facts.items()) {
    SCOPED_TRACE(name);
    const GoldenCase golden_case(file.tensors, name + ".");
    const torch::Tensor logits = golden_case.get("logits", torch::kFloat32).requires_grad_();
    const train::PixelLoss result =
        train::pixel_loss(logits.permute({0, 2, 3, 1}), golden_case.get("label", torch::kInt64));
    result.loss.backward();
    EXPECT_NEAR(result.loss.item<double>(), expected.at("loss").get<double>(),
                1e-5 * std::max(1e-3, expected.at("loss").get<double>()));
    EXPECT_NEAR(result.accuracy, expected.at("acc_seg").get<double>(), 1e-4);
    EXPECT_LE(deviation(logits.grad(), golden_case.get("grad", torch::kFloat32)), 1e-5);
  }
}

/// What this configuration weighs the auxiliary loss with.
double auxiliary_weight() {
  return golden_json("segmentation/nano/config.json")
      .at("model")
      .at("auxiliary_head")
      .at("loss_decode")
      .at("loss_weight");
}

train::SegmentationLoss loss_of(nn::Segmentor& model, const GoldenCase& batch) {
  const torch::ScalarType type = model->parameters().front().scalar_type();
  return train::segmentation_loss(model->forward_maps(batch.get("inputs", type), true),
                                  batch.get("labels", torch::kInt64).squeeze(1), auxiliary_weight());
}

/// In training, as the goldens were made: without dropout.
nn::Segmentor nano_in_training(torch::ScalarType type) {
  nn::Segmentor model = nano_segmentor();
  train::set_element_type(*model, type);
  model->set_dropout(0.0);
  model->train();
  return model;
}

/// Constants per channel that a batch norm removes: their true gradient is 0.
bool is_meaningless(const std::string& name) {
  static const std::regex kMeaningless(".*(downsample\\.conv\\.2\\.conv\\.bias|outnorm[01]\\.bias)");
  return std::regex_match(name, kMeaningless);
}

/// The running means that count those constants.
bool follows_meaningless(const std::string& name) {
  static const std::regex kMeans(".*(downsample\\.conv\\.2\\.norm|lateral_convs\\.[01]\\.bn)\\.running_mean");
  return std::regex_match(name, kMeans);
}

/// How far the gradients of both heads' losses on one batch are from the golden ones: each by itself, and all
/// of them as one vector, relative to their norms.
struct GradientDistances {
  std::map<std::string, double> each;
  double all = 0.0;
};

GradientDistances distances(const nn::Segmentor& model, const TensorMap& expected) {
  const auto parameters = model->named_parameters();
  GradientDistances result;
  double squared_distance = 0.0;
  double squared_norm = 0.0;
  for (const auto& [name, tensor] : expected) {
    if (is_meaningless(name)) continue;
    const torch::Tensor* parameter = parameters.find(name);
    EXPECT_NE(parameter, nullptr) << name;
    if (parameter == nullptr) continue;
    const torch::Tensor truth = nn::to_torch(tensor).to(torch::kFloat64);
    const double distance = (parameter->grad() - truth).norm().item<double>();
    const double norm = truth.norm().item<double>();
    result.each[name] = distance / norm;
    squared_distance += distance * distance;
    squared_norm += norm * norm;
  }
  result.all = std::sqrt(squared_distance / squared_norm);
  return result;
}

/// Of the losses and all gradients of one batch. The branch that is pooled to one point has a BatchNorm over
/// as many values as there are images, which magnifies what single precision rounds in front of it: there all
/// gradients are compared together, one by one in double precision.
TEST(SegmentationTrainingGolden, LossesAndEveryGradient) {
  constexpr double kGradient = 2e-3;
  const Weights batches = read_safetensors(golden("segmentation/nano/train_batches.safetensors"));
  const Weights expected = read_safetensors(golden("segmentation/nano/train_grads.safetensors"));
  const Weights after = read_safetensors(golden("segmentation/nano/train_bn_after.safetensors"));
  const json losses = golden_json("segmentation/nano/train_losses.json").at("losses");
  for (const torch::ScalarType type : {torch::kFloat32, torch::kFloat64}) {
    SCOPED_TRACE(c10::toString(type));
    nn::Segmentor model = nano_in_training(type);
    const train::SegmentationLoss loss = loss_of(model, GoldenCase(batches.tensors, "batch0."));
    loss.total.backward();
    EXPECT_NEAR(loss.decode, losses.at("decode.loss_ce").get<double>(), 1e-5);
    EXPECT_NEAR(loss.auxiliary, losses.at("aux.loss_ce").get<double>(), 1e-5);
    EXPECT_NEAR(loss.decode_accuracy, losses.at("decode.acc_seg").get<double>(), 1e-3);
    EXPECT_NEAR(loss.auxiliary_accuracy, losses.at("aux.acc_seg").get<double>(), 1e-3);
    const GradientDistances gradients = distances(model, expected.tensors);
    EXPECT_FALSE(gradients.each.empty());
    EXPECT_LE(gradients.all, kGradient);
    if (type == torch::kFloat32) continue;
    for (const auto& [name, distance] : gradients.each) EXPECT_LE(distance, kGradient) << name;
    const auto buffers = model->named_buffers();
    for (const auto& [name, tensor] : after.tensors) {
      ASSERT_TRUE(buffers.contains(name)) << name;
      EXPECT_LE(deviation(buffers[name], nn::to_torch(tensor)), 1e-5) << name;
    }
  }
}

/// The steps of one recorded trace, repeated on the golden batches; the weights are changed.
void repeat(const json& trace, const TensorMap& batches, nn::Segmentor& model) {
  std::set<std::string> names;
  for (const auto& [name, tensor] : batches) names.insert(name.substr(0, name.find('.')));
  const train::NamedTensors state = train::named_state(*model);
  const train::AdamWOptions adamw{.beta1 = trace.at("betas").at(0),
                                  .beta2 = trace.at("betas").at(1),
                                  .epsilon = trace.at("eps"),
                                  .weight_decay = trace.at("weight_decay")};
  train::Updater updater(train::AdamW(train::group_by_norm(state), adamw), state, {}, {.clip_norm = 0.0});
  const train::PolySchedule schedule{.base_rate = trace.at("lr"),
                                     .warmup_factor = trace.at("start_factor"),
                                     .warmup_iterations = trace.at("warmup_end"),
                                     .total_iterations = trace.at("poly").at("end"),
                                     .power = trace.at("poly").at("power")};
  for (const json& row : trace.at("rows")) {
    const auto step = row.at("step").get<std::int64_t>();
    SCOPED_TRACE(step);
    const std::string batch = "batch" + std::to_string(step % static_cast<std::int64_t>(names.size())) + ".";
    ASSERT_TRUE(updater.begin_pass());
    const train::SegmentationLoss loss = loss_of(model, GoldenCase(batches, batch));
    const auto expected = row.at("loss").get<double>();
    EXPECT_NEAR(loss.total.item<double>(), expected, 1e-4 * expected);
    ASSERT_TRUE(updater.accept(loss.total.item<double>()));
    loss.total.backward();
    const auto rate = row.at("lr").at(0).get<double>();
    EXPECT_NEAR(updater.apply(schedule.at(step)).learning_rate, rate, 1e-9 * rate);
  }
}

/// What a trace ended in; running statistics in double precision only, as above.
void expect_end(const nn::Segmentor& model, const TensorMap& end, torch::ScalarType type) {
  for (const auto& [name, tensor] : train::named_state(*model)) {
    if (!tensor.is_floating_point() || is_meaningless(name) || follows_meaningless(name)) continue;
    if (!tensor.requires_grad() && type == torch::kFloat32) continue;
    const torch::Tensor expected = nn::to_torch(end.at(name));
    // Weights are below 1; variances are not.
    const double size = std::max(1.0, expected.abs().max().item<double>());
    EXPECT_LE((tensor.detach() - expected).abs().max().item<double>(), 1e-3 * size) << name;
  }
}

TEST(SegmentationTrainingGolden, TrainingTraces) {
  const Weights batches = read_safetensors(golden("segmentation/nano/train_batches.safetensors"));
  int repeated = 0;
  for (const std::filesystem::path& path : golden_files("segmentation/nano", ".json")) {
    if (!path.filename().string().starts_with("trace_")) continue;
    ++repeated;
    for (const torch::ScalarType type : {torch::kFloat32, torch::kFloat64}) {
      SCOPED_TRACE(path.filename().string() + " " + c10::toString(type));
      nn::Segmentor model = nano_in_training(type);
      repeat(json::parse(read_text(path)), batches.tensors, model);
      const std::filesystem::path end = path.parent_path() / (path.stem().string() + "_final.safetensors");
      if (std::filesystem::exists(end)) expect_end(model, read_safetensors(end).tensors, type);
    }
  }
  EXPECT_GT(repeated, 0);
}

TEST(SegmentationTrainingGolden, LearningRatesOfTheRealSchedule) {
  const train::PolySchedule schedule;
  const json rows = golden_json("segmentation/nano/schedule_160k.json").at("rows");
  ASSERT_FALSE(rows.empty());
  for (const json& row : rows) {
    const auto expected = row.at(1).get<double>();
    EXPECT_NEAR(schedule.at(row.at(0).get<std::int64_t>()), expected, 1e-9 * expected) << row;
  }
}

TEST(SegmentationTrainingGolden, WeightDecayOfEachParameter) {
  const nn::Segmentor model = nano_segmentor();
  const train::ParameterGroups groups = train::group_by_norm(train::named_state(*model));
  std::map<std::string, bool> decays;
  for (const auto& [name, tensor] : groups.decay) decays[name] = true;
  for (const auto& [name, tensor] : groups.no_decay) decays[name] = false;
  const json expected = golden_json("segmentation/nano/param_groups.json");
  ASSERT_EQ(expected.size(), decays.size());
  for (const json& entry : expected) {
    const auto name = entry.at("name").get<std::string>();
    ASSERT_TRUE(decays.contains(name)) << name;
    EXPECT_EQ(decays[name], entry.at("weight_decay").get<double>() > 0.0) << name;
  }
}

/// The step of a pipeline with this name.
json step_of(const json& pipeline, const std::string& type) {
  for (const json& step : pipeline) {
    if (step.at("type") == type) return step;
  }
  ADD_FAILURE() << "no " << type << " in the pipeline";
  return {};
}

TEST(SegmentationTrainingGolden, RecipesAreTheReferencesConfigurations) {
  static const std::regex kVariant(".*_([a-z]+)\\.json");
  const auto files = golden_files("segmentation/configs", ".json");
  ASSERT_FALSE(files.empty());
  for (const std::filesystem::path& path : files) {
    std::smatch variant;
    const std::string name = path.filename().string();
    ASSERT_TRUE(std::regex_match(name, variant, kVariant)) << name;
    SCOPED_TRACE(name);
    const json config = json::parse(read_text(path));
    const std::string file = "configs/ade20k_" + variant[1].str() + ".yaml";
    const train::Recipe recipe = train::read_recipe(std::filesystem::path(SPATIALMAMBA_SOURCE_DIR) / file);

    const json& model = config.at("model");
    const SegmentorArchitecture built =
        train::segmentor_of(recipe, model.at("decode_head").at("num_classes"));
    EXPECT_EQ(built.backbone.depths, model.at("backbone").at("depths").get<std::vector<std::int64_t>>());
    EXPECT_EQ(built.backbone.dims.front(), model.at("backbone").at("dims"));
    EXPECT_EQ(built.backbone.drop_path_rate, model.at("backbone").at("drop_path_rate"));
    EXPECT_EQ(built.channels, model.at("decode_head").at("channels"));
    EXPECT_EQ(built.pools, model.at("decode_head").at("pool_scales").get<std::vector<std::int64_t>>());
    EXPECT_EQ(built.auxiliary_channels, model.at("auxiliary_head").at("channels"));
    EXPECT_EQ(built.auxiliary_level, model.at("auxiliary_head").at("in_index"));
    EXPECT_EQ(recipe.segmentation.dropout, model.at("decode_head").at("dropout_ratio"));
    EXPECT_EQ(recipe.segmentation.auxiliary_weight,
              model.at("auxiliary_head").at("loss_decode").at("loss_weight"));

    const json& pipeline = config.at("train_pipeline");
    const json resize = step_of(pipeline, "RandomResize");
    const json crop = step_of(pipeline, "RandomCrop");
    EXPECT_EQ(recipe.segmentation.fit, resize.at("scale").get<std::vector<std::int64_t>>());
    EXPECT_EQ(recipe.segmentation.ratio, resize.at("ratio_range").get<std::vector<double>>());
    EXPECT_EQ(recipe.segmentation.crop, crop.at("crop_size").at(0));
    EXPECT_EQ(recipe.segmentation.cat_max_ratio, crop.at("cat_max_ratio"));
    EXPECT_EQ(recipe.augment.flip, step_of(pipeline, "RandomFlip").at("prob"));
    EXPECT_TRUE(recipe.segmentation.photometric);
    EXPECT_EQ(recipe.segmentation.zero_label == "unlabelled",
              step_of(pipeline, "LoadAnnotations").at("reduce_zero_label"));

    const json& optimizer = config.at("optim_wrapper").at("optimizer");
    const json warmup = step_of(config.at("param_scheduler"), "LinearLR");
    const json poly = step_of(config.at("param_scheduler"), "PolyLR");
    EXPECT_EQ(recipe.optimizer.rate_batch, 0);
    EXPECT_EQ(recipe.optimizer.rate, optimizer.at("lr"));
    EXPECT_EQ(recipe.optimizer.betas, optimizer.at("betas").get<std::vector<double>>());
    EXPECT_EQ(recipe.optimizer.weight_decay, optimizer.at("weight_decay"));
    EXPECT_EQ(recipe.optimizer.warmup_factor, warmup.at("start_factor"));
    EXPECT_EQ(recipe.optimizer.warmup_iterations, warmup.at("end"));
    EXPECT_EQ(recipe.optimizer.power, poly.at("power"));
    EXPECT_EQ(recipe.train.iterations, config.at("train_cfg").at("max_iters"));
    EXPECT_EQ(recipe.output.evaluate_iterations, config.at("train_cfg").at("val_interval"));
    EXPECT_EQ(recipe.train.clip_norm, 0.0);
    EXPECT_FALSE(recipe.train.ema);
  }
}

}  // namespace
}  // namespace spatialmamba::test
