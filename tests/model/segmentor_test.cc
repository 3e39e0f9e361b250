// The stated segmentor against the official system's counts, names and shapes; what tells the tasks apart.
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "spatialmamba/segmentor.h"
#include "spatialmamba/task.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba {
namespace {

using nlohmann::json;

TensorMap nano_weights() {
  return read_pth(test::golden("segmentation/nano/checkpoint.pth")).tensors;
}

TEST(Segmentor, ParametersAndFlopsAreThePapers) {
  for (const std::filesystem::path& path : test::golden_files("segmentation/flops", ".json")) {
    SCOPED_TRACE(path);
    const json expected = json::parse(read_text(path));
    const SegmentorArchitecture architecture = segmentor_of(expected.at("size").get<std::string>());
    SegmentorArchitecture plain = architecture;
    plain.auxiliary_channels = 0;
    EXPECT_EQ(count_parameters(architecture), expected.at("params_with_auxiliary_head").get<std::int64_t>());
    EXPECT_EQ(count_parameters(plain), expected.at("params_without_auxiliary_head").get<std::int64_t>());

    const auto input = expected.at("input").get<Shape>();
    std::map<std::string, std::int64_t> flops;
    for (const LayerCost& layer : layer_costs(architecture, input[2], input[3])) {
      flops[layer.operation] += layer.flops;
    }
    const json& analytic = expected.at("analytic");
    EXPECT_EQ(flops["selective_scan"], analytic.at("scan_7BLDN").get<std::int64_t>());
    flops["conv"] -= analytic.at("three_dilated_3x3_macs").get<std::int64_t>();
    for (const auto& [name, count] : expected.at("by_operator").items()) {
      EXPECT_EQ(flops[name], count.get<std::int64_t>()) << name;
    }
    EXPECT_EQ(count_flops(architecture, input[2], input[3]),
              expected.at("raw_plus_scan_plus_three_dilated").get<std::int64_t>());
  }
}

TEST(Segmentor, StateDictionaryIsTheReferencesInItsOrder) {
  const TensorMap tensors = nano_weights();
  const SegmentorArchitecture architecture = infer_segmentor(tensors);
  EXPECT_EQ(compare(architecture, tensors).describe(), "");
  const std::vector<TensorSpec> specs = tensor_specs(architecture);
  ASSERT_EQ(specs.size(), tensors.size());
  auto spec = specs.begin();
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(spec->name, name);
    EXPECT_EQ(spec->shape, tensor.shape()) << name;
    EXPECT_EQ(spec->dtype, tensor.dtype()) << name;
    ++spec;
  }
}

TEST(Segmentor, IsReadOffItsWeights) {
  const json config = json::parse(read_text(test::golden("segmentation/nano/config.json"))).at("model");
  const SegmentorArchitecture architecture = infer_segmentor(nano_weights());
  EXPECT_EQ(architecture.backbone.dims[0], config.at("backbone").at("dims").get<std::int64_t>());
  EXPECT_EQ(architecture.backbone.depths,
            config.at("backbone").at("depths").get<std::vector<std::int64_t>>());
  EXPECT_EQ(architecture.num_classes, config.at("decode_head").at("num_classes").get<std::int64_t>());
  EXPECT_EQ(architecture.channels, config.at("decode_head").at("channels").get<std::int64_t>());
  EXPECT_EQ(architecture.pools, config.at("decode_head").at("pool_scales").get<std::vector<std::int64_t>>());
  EXPECT_EQ(architecture.auxiliary_channels, config.at("auxiliary_head").at("channels").get<std::int64_t>());
  EXPECT_EQ(architecture.auxiliary_level, config.at("auxiliary_head").at("in_index").get<std::int64_t>());
}

TEST(Segmentor, MayLackTheAuxiliaryHead) {
  TensorMap tensors;
  for (const auto& [name, tensor] : nano_weights()) {
    if (!name.starts_with("auxiliary_head.")) tensors.add(name, tensor);
  }
  const SegmentorArchitecture architecture = infer_segmentor(tensors);
  EXPECT_EQ(architecture.auxiliary_channels, 0);
  EXPECT_EQ(compare(architecture, tensors).describe(), "");
}

TEST(Segmentor, RefusesWhatCannotBe) {
  EXPECT_THROW(segmentor_of("nonsense"), UsageError);
  SegmentorArchitecture flat = segmentor_of("micro");
  flat.backbone.dims.resize(1);
  flat.backbone.depths.resize(1);
  EXPECT_THROW(validate(flat), UsageError);
  EXPECT_THROW(infer_segmentor({}), Error);
  SegmentorArchitecture classifier{.backbone = architecture_of("tiny")};
  EXPECT_THROW(validate(classifier), UsageError);
}

TEST(Task, IsInferredFromTheHeads) {
  EXPECT_EQ(infer_task(nano_weights()), Task::segmentation);
  TensorMap tensors;
  for (const TensorSpec& spec : tensor_specs(architecture_of("micro")))
    tensors.add(spec.name, {spec.dtype, spec.shape});
  EXPECT_EQ(infer_task(tensors), Task::classification);
  tensors.add("roi_head.bbox_head.fc_cls.weight", {});
  EXPECT_EQ(infer_task(tensors), Task::detection);
  for (const Task task : {Task::classification, Task::segmentation, Task::detection}) {
    EXPECT_EQ(task_from_name(name_of(task)), task);
  }
  EXPECT_THROW(task_from_name("poetry"), UsageError);
}

}  // namespace
}  // namespace spatialmamba
