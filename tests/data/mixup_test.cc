#include "data/mixup.h"

#include <gtest/gtest.h>

#include <cmath>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::data {
namespace {

using test::golden;
using test::relative_deviation;

constexpr double kTolerance = 1e-6;  // of the golden README
constexpr double kSmoothing = 0.1;   // of the golden README

struct Golden {
  Weights weights = read_safetensors(golden("classification/data/mixup.safetensors"));
  nlohmann::json cases = nlohmann::json::parse(read_text(golden("classification/data/mixup_cases.json")));
  const Tensor& x = weights.tensors.at("x");
  std::vector<std::int64_t> labels = weights.tensors.at("y").values<std::int64_t>();
  BatchLayout layout{
      .n = x.shape()[0], .h = x.shape()[2], .w = x.shape()[3], .c = x.shape()[1], .channels_last = false};
};

Mixture mixture_of(const nlohmann::json& item) {
  Mixture mixture{.cutmix = item.at("cutmix"), .lam = item.at("lam_used")};
  if (!mixture.cutmix) return mixture;
  const auto& box = item.at("bbox_yl_yh_xl_xh");
  mixture.top = box.at(0);
  mixture.bottom = box.at(1);
  mixture.left = box.at(2);
  mixture.right = box.at(3);
  return mixture;
}

template <typename T>
std::vector<T> to_channels_last(const std::vector<T>& nchw, const BatchLayout& layout) {
  std::vector<T> out(nchw.size());
  const std::int64_t area = layout.h * layout.w;
  for (std::int64_t i = 0; i < layout.n; ++i) {
    for (std::int64_t c = 0; c < layout.c; ++c) {
      for (std::int64_t p = 0; p < area; ++p) {
        out[static_cast<std::size_t>((i * area + p) * layout.c + c)] =
            nchw[static_cast<std::size_t>((i * layout.c + c) * area + p)];
      }
    }
  }
  return out;
}

template <typename T>
std::vector<double> widen(const std::vector<T>& values) {
  return {values.begin(), values.end()};
}

TEST(Mixup, GoldenPicturesInBothLayouts) {
  const Golden data;
  ASSERT_FALSE(data.cases.empty());
  for (const auto& item : data.cases) {
    const std::string name = "case" + std::to_string(item.at("case").get<int>());
    const Mixture mixture = mixture_of(item);
    const std::vector<float> expected = data.weights.tensors.at(name + "/x").values<float>();

    std::vector<float> nchw = data.x.values<float>();
    mix_images(std::span(nchw), data.layout, mixture);
    EXPECT_LE(relative_deviation(widen(nchw), widen(expected)), kTolerance) << name;

    BatchLayout nhwc_layout = data.layout;
    nhwc_layout.channels_last = true;
    std::vector<float> nhwc = to_channels_last(data.x.values<float>(), data.layout);
    mix_images(std::span(nhwc), nhwc_layout, mixture);
    EXPECT_EQ(nhwc, to_channels_last(nchw, data.layout)) << name;

    std::vector<double> wide = widen(data.x.values<float>());
    mix_images(std::span(wide), data.layout, mixture);
    EXPECT_LE(relative_deviation(wide, widen(expected)), kTolerance) << name;
  }
}

TEST(Mixup, GoldenTargets) {
  const Golden data;
  for (const auto& item : data.cases) {
    const std::string name = "case" + std::to_string(item.at("case").get<int>());
    const Tensor& expected = data.weights.tensors.at(name + "/target");
    const double lam = item.at("lam_used");
    const auto targets = soft_targets<float>(data.labels, expected.shape()[1], kSmoothing, lam);
    EXPECT_LE(relative_deviation(widen(targets), test::as_double(expected)), kTolerance) << name;
  }
}

/// -sum(target * log_softmax(logits)), averaged over the batch.
double soft_cross_entropy(const std::vector<double>& logits, const std::vector<double>& targets,
                          std::size_t classes) {
  double loss = 0.0;
  for (std::size_t i = 0; i < logits.size(); i += classes) {
    double sum = 0.0;
    for (std::size_t c = 0; c < classes; ++c) sum += std::exp(logits[i + c]);
    for (std::size_t c = 0; c < classes; ++c) loss -= targets[i + c] * (logits[i + c] - std::log(sum));
  }
  return loss / static_cast<double>(logits.size() / classes);
}

TEST(Mixup, TargetsGiveTheGoldenLosses) {
  const Golden data;
  const Tensor& logits = data.weights.tensors.at("loss/logits");
  const std::int64_t classes = logits.shape()[1];
  int checked = 0;
  for (const auto& [name, tensor] : data.weights.tensors) {
    const std::string soft = "loss/soft_target_case";
    const bool smoothing = name.starts_with("loss/label_smoothing_");
    if (!smoothing && !name.starts_with(soft)) continue;
    const double lam =
        smoothing ? 1.0 : data.cases.at(std::stoul(name.substr(soft.size()))).at("lam_used").get<double>();
    const double amount = smoothing ? std::stod(name.substr(name.rfind('_') + 1)) : kSmoothing;
    const auto targets = soft_targets<double>(data.labels, classes, amount, lam);
    EXPECT_NEAR(soft_cross_entropy(test::as_double(logits), targets, static_cast<std::size_t>(classes)),
                tensor.values<double>()[0], kTolerance)
        << name;
    ++checked;
  }
  EXPECT_GT(checked, 0);
}

TEST(Mixup, BoxAndItsCorrectionMatchTheGolden) {
  const Golden data;
  int boxes = 0;
  for (const auto& item : data.cases) {
    if (!item.at("cutmix").get<bool>()) continue;
    const Mixture expected = mixture_of(item);
    bool found = false;  // the centre is not recorded: one of all must give this box
    for (std::int64_t y = 0; y < data.layout.h; ++y) {
      for (std::int64_t x = 0; x < data.layout.w; ++x) {
        const Mixture box = cutmix_box(item.at("lam_drawn"), y, x, data.layout.h, data.layout.w);
        found =
            found || (box.top == expected.top && box.bottom == expected.bottom && box.left == expected.left &&
                      box.right == expected.right && std::abs(box.lam - expected.lam) < 1e-12);
      }
    }
    EXPECT_TRUE(found) << item;
    ++boxes;
  }
  EXPECT_GT(boxes, 0);
}

TEST(Mixup, DrawsFollowTheirDistributions) {
  Random random(1);
  constexpr int kDraws = 4000;
  int cutmixes = 0;
  double lam = 0.0;
  for (int i = 0; i < kDraws; ++i) {
    const Mixture mixture = draw_mixture({}, 32, 48, random);
    cutmixes += mixture.cutmix ? 1 : 0;
    EXPECT_GE(mixture.lam, 0.0);
    EXPECT_LE(mixture.lam, 1.0);
    if (!mixture.cutmix) lam += mixture.lam;
  }
  EXPECT_NEAR(cutmixes, kDraws / 2, 150);
  EXPECT_NEAR(lam / (kDraws - cutmixes), 0.5, 0.03);  // Beta is symmetric
}

TEST(Mixup, SwitchesWork) {
  Random random(2);
  for (int i = 0; i < 50; ++i) {
    EXPECT_FALSE(draw_mixture({.cutmix_alpha = 0}, 8, 8, random).cutmix);
    EXPECT_TRUE(draw_mixture({.mixup_alpha = 0}, 8, 8, random).cutmix);
    EXPECT_EQ(draw_mixture({.mixup_alpha = 0, .cutmix_alpha = 0}, 8, 8, random).lam, 1.0);
    EXPECT_EQ(draw_mixture({.probability = 0}, 8, 8, random).lam, 1.0);
  }
  EXPECT_THROW(validate(MixupConfig{.mixup_alpha = -1}), UsageError);
  EXPECT_THROW(validate(MixupConfig{.probability = 2}), UsageError);
}

TEST(Mixup, TheMiddleOfAnOddBatchKeepsItself) {
  std::vector<double> batch = {1, 2, 3};
  mix_images(std::span(batch), {.n = 3, .h = 1, .w = 1, .c = 1}, {.lam = 0.75});
  EXPECT_EQ(batch, (std::vector<double>{1.5, 2, 2.5}));
}

TEST(Mixup, RefusesWhatCannotBe) {
  std::vector<float> batch(8);
  EXPECT_THROW(mix_images(std::span(batch), {.n = 3, .h = 1, .w = 1, .c = 1}, {}), Error);
  const Mixture outside{.cutmix = true, .bottom = 3, .right = 1};
  EXPECT_THROW(mix_images(std::span(batch), {.n = 2, .h = 2, .w = 2, .c = 1}, outside), Error);
  const std::vector<std::int64_t> labels = {0, 5};
  EXPECT_THROW(soft_targets<float>(labels, 5, 0.1, 1.0), Error);
}

}  // namespace
}  // namespace spatialmamba::data
