#include "detection/boxes.h"

#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/file.h"
#include "golden_boxes.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::detection::test {
namespace {

using spatialmamba::test::as_double;
using spatialmamba::test::golden;
using spatialmamba::test::relative_deviation;

constexpr double kTolerance = 1e-6;

TensorMap component(const std::string& name) {
  return read_safetensors(golden("detection/components/" + name + ".safetensors")).tensors;
}

TEST(Anchors, EqualTheReference) {
  const TensorMap tensors = component("anchors");
  const auto meta = nlohmann::json::parse(read_text(golden("detection/components/meta.json"))).at("anchors");
  const auto strides = meta.at("strides").get<std::vector<std::int64_t>>();
  const AnchorGenerator anchors;
  int compared = 0;
  for (const auto& [name, expected] : tensors) {
    SCOPED_TRACE(name);
    const std::size_t level = std::stoul(name.substr(name.rfind('.') + 1));
    const std::int64_t stride = strides.at(level);
    if (name.starts_with("base_anchors")) {
      EXPECT_LE(relative_deviation(flat(anchors.shapes(stride)), as_double(expected)), kTolerance);
      ++compared;
      continue;
    }
    const bool flags = name.starts_with("valid_flags");
    const std::string grid = flags ? "five_level" : name.substr(0, name.find('.'));
    const auto& map = meta.at(grid + "_featmap_hw").at(level);
    if (flags) {
      const std::size_t at = name.find("pad") + 3;
      const std::size_t by = name.find('x', at);
      const Extent extent{std::stoll(name.substr(at, by - at)), std::stoll(name.substr(by + 1))};
      EXPECT_EQ(anchors.reached(stride, map.at(0), map.at(1), extent), expected.values<std::uint8_t>());
    } else {
      EXPECT_LE(relative_deviation(flat(anchors.grid(stride, map.at(0), map.at(1))), as_double(expected)),
                kTolerance);
    }
    ++compared;
  }
  EXPECT_GT(compared, 0);
}

// "decode_{rpn,rcnn}[_Ncls]_{noclip,clip_HxW}"
TEST(BoxCoder, EqualsTheReference) {
  const TensorMap tensors = component("box_coder");
  const std::vector<Box> priors = boxes_of(tensors.at("priors"));
  const std::vector<Box> targets = boxes_of(tensors.at("targets"));
  int compared = 0;
  for (const auto& [name, expected] : tensors) {
    SCOPED_TRACE(name);
    const BoxCoder coder =
        name.find("rcnn") == std::string::npos ? BoxCoder{} : BoxCoder{{0.1F, 0.1F, 0.2F, 0.2F}};
    if (name.starts_with("encode")) {
      // Priors without extent cannot be encoded; the golden leaves them out at the front.
      std::vector<double> actual;
      const std::size_t skipped = priors.size() - static_cast<std::size_t>(expected.shape()[0]);
      for (std::size_t i = skipped; i < priors.size(); ++i) {
        const auto deltas = coder.encode(priors[i], targets[i]);
        actual.insert(actual.end(), deltas.begin(), deltas.end());
      }
      EXPECT_LE(relative_deviation(actual, as_double(expected)), kTolerance);
      ++compared;
    } else if (name.starts_with("decode")) {
      const std::vector<float> deltas =
          tensors.at(name.find("cls") == std::string::npos ? "deltas" : "deltas_5cls").values<float>();
      std::optional<Extent> clip;
      if (const std::size_t at = name.find("_clip_"); at != std::string::npos) {
        clip = Extent{std::stoll(name.substr(at + 6)), std::stoll(name.substr(name.rfind('x') + 1))};
      }
      const std::size_t per_prior = deltas.size() / priors.size() / 4;
      std::vector<Box> actual;
      for (std::size_t i = 0; i < deltas.size() / 4; ++i) {
        const Box box = coder.decode(priors[i / per_prior], std::span(deltas).subspan(4 * i).first<4>());
        actual.push_back(clip ? clipped(box, *clip) : box);
      }
      EXPECT_LE(relative_deviation(flat(actual), as_double(expected)), kTolerance);
      ++compared;
    }
  }
  EXPECT_GT(compared, 0);
  for (const std::string kind : {"iou", "iof"}) {
    std::vector<double> actual;
    for (const Box& prior : priors) {
      for (const Box& target : targets) {
        actual.push_back(
            static_cast<double>(kind == "iou" ? iou(prior, target) : overlap_of_first(prior, target)));
      }
    }
    EXPECT_LE(relative_deviation(actual, as_double(tensors.at(kind + "_priors_targets"))), kTolerance);
  }
}

TEST(PyramidLevel, EqualsTheReference) {
  const TensorMap tensors = component("roi_extractor");
  const std::vector<float> rois = tensors.at("rois").values<float>();
  const std::vector<std::int64_t> expected = tensors.at("levels").values<std::int64_t>();
  ASSERT_EQ(rois.size(), 5 * expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const float* roi = rois.data() + 5 * i;
    EXPECT_EQ(pyramid_level({roi[1], roi[2], roi[3], roi[4]}, 4), expected[i]) << i;
  }
}

}  // namespace
}  // namespace spatialmamba::detection::test
