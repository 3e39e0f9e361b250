// Mask R-CNN's parameters and FLOPs as the paper counts them, and its state dictionary.
#include "spatialmamba/detector.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/file.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba {
namespace {

TEST(Detector, CountsAsThePaperDoes) {
  for (const std::filesystem::path& file : test::golden_files("detection/flops", ".json")) {
    const auto expected = nlohmann::json::parse(read_text(file));
    const std::string variant = expected.at("size");
    SCOPED_TRACE(variant);
    const DetectorArchitecture detector = detector_of(variant);
    EXPECT_EQ(count_parameters(detector), expected.at("params").get<std::int64_t>());
    const auto& input = expected.at("input");
    const DetectorLoad load{.proposals = expected.at("num_proposals").at(0)};
    EXPECT_EQ(count_flops(detector, input.at(2), input.at(3), load),
              expected.at("raw_plus_scan_plus_three_dilated").get<std::int64_t>());
  }
}

TEST(Detector, IsReadOffItsTensors) {
  const TensorMap tensors = read_safetensors(test::golden("detection/nano/weights.safetensors")).tensors;
  const DetectorArchitecture detector = infer_detector(tensors);
  EXPECT_TRUE(compare(detector, tensors).empty()) << compare(detector, tensors).describe();
  EXPECT_EQ(tensor_specs(detector).size(), tensors.size());
}

TEST(Detector, WhatCannotBeIsRefused) {
  EXPECT_THROW(detector_of("micro"), UsageError) << "three stages";
  EXPECT_THROW(infer_detector({}), Error);
  DetectorArchitecture detector = detector_of("tiny");
  detector.num_classes = 0;
  EXPECT_THROW(validate(detector), UsageError);
}

TEST(Detector, KnowsTheClassesOfCoco) {
  EXPECT_EQ(std::ssize(coco_classes()), detector_of("tiny").num_classes);
}

}  // namespace
}  // namespace spatialmamba
