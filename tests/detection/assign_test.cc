#include "detection/assign.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "golden_boxes.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::detection::test {
namespace {

using spatialmamba::test::golden;

TEST(Assigner, EqualsTheReference) {
  const TensorMap tensors = read_safetensors(golden("detection/components/assigner.safetensors")).tensors;
  const auto meta = nlohmann::json::parse(read_text(golden("detection/components/meta.json"))).at("assigner");
  const std::vector<Box> priors = boxes_of(tensors.at("priors"));
  const std::vector<Box> objects = boxes_of(tensors.at("gt_bboxes"));
  const std::vector<Box> ignored = boxes_of(tensors.at("ignore_bboxes"));
  ASSERT_FALSE(meta.empty());
  const auto compare = [&](const std::string& name, const Assigner& assigner, const std::vector<Box>& there) {
    SCOPED_TRACE(name);
    const Assignment assignment = assign(assigner, priors, there, ignored);
    EXPECT_EQ(assignment.objects, tensors.at(name + ".gt_inds").values<std::int64_t>());
    const auto expected = tensors.at(name + ".max_overlaps").values<float>();
    for (std::size_t i = 0; i < expected.size(); ++i)
      EXPECT_NEAR(assignment.overlaps[i], expected[i], 1e-6F) << i;
  };
  for (const auto& [name, settings] : meta.items()) {
    const Assigner assigner{.positive = settings.at("pos_iou_thr"),
                            .negative = settings.at("neg_iou_thr"),
                            .least = settings.at("min_pos_iou"),
                            .keep_best = settings.at("match_low_quality"),
                            .ignore_overlap = settings.at("ignore_iof_thr")};
    compare(name, assigner, objects);
    if (tensors.contains(name + "_no_gt.gt_inds")) compare(name + "_no_gt", assigner, {});
  }
}

TEST(Sampler, KeepsItsSharesAndRepeats) {
  Assignment assignment;
  for (int i = 0; i < 1000; ++i) assignment.objects.push_back(i % 10 == 0 ? 1 : i % 10 == 1 ? -1 : 0);
  const Sampler sampler{.count = 64, .positive_share = 0.25};
  Random random(1);
  const Sample sample = draw_sample(sampler, assignment, random);
  EXPECT_EQ(sample.positive.size(), 16U);
  EXPECT_EQ(sample.negative.size(), 48U);
  EXPECT_TRUE(std::ranges::is_sorted(sample.positive));
  for (const std::int64_t row : sample.positive)
    EXPECT_EQ(assignment.objects[static_cast<std::size_t>(row)], 1);
  for (const std::int64_t row : sample.negative)
    EXPECT_EQ(assignment.objects[static_cast<std::size_t>(row)], 0);
  Random again(1);
  EXPECT_EQ(draw_sample(sampler, assignment, again).positive, sample.positive);
  // Few positives: background fills the rest.
  const Sample rest = draw_sample({.count = 1000, .positive_share = 0.5}, assignment, random);
  EXPECT_EQ(rest.positive.size(), 100U);
  EXPECT_EQ(rest.negative.size(), 800U);
}

}  // namespace
}  // namespace spatialmamba::detection::test
