// Checkpoints that real programs wrote: the golden ones.
#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "support/golden.h"
#include "weights/checkpoint.h"
#include "weights/expect_equal.h"

namespace spatialmamba {
namespace {

using testing::HasSubstr;

const std::string kNano = "classification/nano/";

/// Every .pth of the golden set, whatever area it belongs to.
std::vector<std::filesystem::path> all_checkpoints() {
  std::vector<std::filesystem::path> found;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(test::golden_folder())) {
    if (entry.path().extension() == ".pth") found.push_back(entry.path());
  }
  return found;
}

void expect_finite(const TensorMap& tensors) {
  for (const auto& [name, tensor] : tensors) {
    if (tensor.dtype() != DType::f32) continue;
    for (const float value : tensor.values<float>()) ASSERT_TRUE(std::isfinite(value)) << name;
  }
}

TEST(GoldenCheckpoint, AllAreReadByTheirContent) {
  const auto files = all_checkpoints();
  ASSERT_FALSE(files.empty());
  for (const auto& file : files) {
    SCOPED_TRACE(file.string());
    const Weights weights = read_weights(file);
    EXPECT_FALSE(weights.tensors.empty());
    expect_finite(weights.tensors);
    test::expect_same(read_pth(file).tensors, weights.tensors);
  }
}

TEST(GoldenCheckpoint, NamesAndShapesAreThoseOfTheSameModelAsSafetensors) {
  if (!test::has_golden(kNano + "latest_ckpt.pth") || !test::has_golden(kNano + "nano_weights.safetensors"))
    return;
  const TensorMap start = read_safetensors(test::golden(kNano + "nano_weights.safetensors")).tensors;
  const TensorMap trained = read_pth(test::golden(kNano + "latest_ckpt.pth")).tensors;
  ASSERT_EQ(trained.size(), start.size());
  for (const auto& [name, tensor] : trained) {
    ASSERT_TRUE(start.contains(name)) << name;
    EXPECT_EQ(tensor.shape(), start.at(name).shape()) << name;
    EXPECT_EQ(tensor.dtype(), start.at(name).dtype()) << name;
  }
}

TEST(GoldenCheckpoint, TrainedWeightsAreTheTrace) {
  const std::string final_file = "classification/train/final.safetensors";
  const std::string trace_file = "classification/train/trace.json";
  if (!test::has_golden(kNano + "latest_ckpt.pth") || !test::has_golden(final_file)) return;
  const auto trace = nlohmann::json::parse(read_text(test::golden(trace_file)));
  const auto& deviations = trace.at("max_abs_weight_diff_float32_vs_float64");
  const TensorMap expected = read_safetensors(test::golden(final_file)).tensors;
  const TensorMap trained = read_pth(test::golden(kNano + "latest_ckpt.pth"), "model").tensors;
  std::size_t compared = 0;
  for (const auto& [name, tensor] : trained) {
    const Tensor* truth = expected.find("final_f64/" + name);
    // Gradients that are zero in theory make these wander (see the golden README).
    const bool wanders = name.ends_with("downsample.conv.2.conv.bias") ||
                         name.ends_with("downsample.conv.2.norm.running_mean");
    if (truth == nullptr || tensor.dtype() != DType::f32 || wanders) continue;
    const std::vector<double> a = test::as_double(tensor);
    const std::vector<double> b = test::as_double(*truth);
    ASSERT_EQ(a.size(), b.size()) << name;
    // The stored truth is rounded to single precision, which alone may make a deviation of this size.
    const double tolerance = std::max(5.0 * deviations.at(name).get<double>(), 1e-7);
    for (std::size_t i = 0; i < a.size(); ++i) ASSERT_NEAR(a[i], b[i], tolerance) << name;
    ++compared;
  }
  EXPECT_GT(compared, 0U);
}

TEST(GoldenCheckpoint, OneModelInThreeFilesIsTheSame) {
  const TensorMap model = read_pth(test::golden(kNano + "best_ckpt_ema.pth"), "model").tensors;
  for (const std::string name : {"pico_model_only.pth", "pico_legacy_bare.pth"}) {
    SCOPED_TRACE(name);
    test::expect_same(read_pth(test::golden(kNano + name)).tensors, model);
  }
}

TEST(GoldenCheckpoint, AveragedWeightsAreUnderTheirOwnKey) {
  const auto file = test::golden(kNano + "best_ckpt_ema.pth");
  const TensorMap model = read_pth(file).tensors;
  const TensorMap ema = read_pth(file, "model_ema").tensors;
  ASSERT_EQ(model.size(), ema.size());
  std::size_t different = 0;
  for (const auto& [name, tensor] : ema) {
    const Tensor& plain = model.at(name);
    ASSERT_EQ(tensor.shape(), plain.shape()) << name;
    different += std::equal(tensor.raw(), tensor.raw() + tensor.bytes(), plain.raw()) ? 0 : 1;
  }
  EXPECT_GT(different, 0U);
}

TEST(GoldenCheckpoint, AMissingKeyIsAnErrorThatListsTheKeys) {
  const auto file = test::golden(kNano + "best_ckpt_ema.pth");
  const auto described = nlohmann::json::parse(read_text(test::golden(kNano + "best_ckpt_ema_keys.json")));
  try {
    read_pth(file, "teacher");
    FAIL() << "expected an error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(file.string() + ": has no 'teacher'"));
    for (const auto& [key, value] : described.items()) EXPECT_THAT(error.what(), HasSubstr(key));
  }
}

TEST(GoldenCheckpoint, AKeyThatIsNoStateDictionaryIsAnError) {
  const auto file = test::golden(kNano + "best_ckpt_ema.pth");
  EXPECT_THAT([&] { read_pth(file, "epoch"); },
              testing::ThrowsMessage<Error>(HasSubstr("'epoch' is a number, expected a state dictionary")));
  EXPECT_THAT([&] { read_pth(file, "config"); },
              testing::ThrowsMessage<Error>(HasSubstr("expected a tensor")));
}

/// `value` is what `described` says: a number, a text, null, an array, an object, or "CLASS with N entries".
void expect_described(const pickle::Value* value, const nlohmann::json& described, const std::string& where) {
  ASSERT_NE(value, nullptr) << where;
  if (described.is_boolean()) {
    ASSERT_NE(value->as<bool>(), nullptr) << where;
    EXPECT_EQ(*value->as<bool>(), described.get<bool>()) << where;
  } else if (described.is_number()) {
    EXPECT_EQ(value->number(), described.get<double>()) << where;
  } else if (described.is_null()) {
    EXPECT_TRUE(value->is_none()) << where;
  } else if (described.is_array()) {
    ASSERT_EQ(value->items().size(), described.size()) << where;
    for (std::size_t i = 0; i < described.size(); ++i)
      expect_described(value->items()[i], described[i], where);
  } else if (described.is_object()) {
    for (const auto& [key, inner] : described.items())
      expect_described(value->find(key), inner, where + '.' + key);
  } else if (const std::string text = described; text.ends_with(" entries")) {
    const auto entries = value->entries();
    ASSERT_TRUE(entries) << where;
    const std::string type = value->constructor() == nullptr ? "builtins.dict" : value->constructor()->full();
    EXPECT_EQ(fmt::format("{} with {} entries", type, entries->size()), text) << where;
  } else {
    EXPECT_EQ(value->text(), text) << where;
  }
}

TEST(GoldenCheckpoint, WhateverElseItHoldsCanBeLookedAt) {
  const Checkpoint checkpoint = Checkpoint::open(test::golden(kNano + "best_ckpt_ema.pth"));
  const auto described = nlohmann::json::parse(read_text(test::golden(kNano + "best_ckpt_ema_keys.json")));
  EXPECT_EQ(checkpoint.keys().size(), described.size());
  expect_described(&checkpoint.root(), described, "root");
}

TEST(GoldenCheckpoint, OptimizerStateHasTheShapesOfParameters) {
  for (const auto& file : all_checkpoints()) {
    Checkpoint checkpoint = Checkpoint::open(file);
    const pickle::Value* optimizer = checkpoint.root().find("optimizer");
    if (optimizer == nullptr) continue;
    SCOPED_TRACE(file.string());
    const TensorMap model = checkpoint.state_dict_at("");
    const pickle::Value* state = optimizer->find("state");
    ASSERT_NE(state, nullptr);
    const pickle::Entries moments = state->entries().value_or(pickle::Entries{});
    for (const auto& [index, entry] : moments) {
      EXPECT_TRUE(index->integer());
      const pickle::Value* average = entry->find("exp_avg");
      if (average == nullptr) continue;
      const Tensor tensor = checkpoint.tensor(*average, "exp_avg");
      EXPECT_TRUE(
          std::ranges::any_of(model, [&](const auto& e) { return e.tensor.shape() == tensor.shape(); }));
    }
  }
}

}  // namespace
}  // namespace spatialmamba
