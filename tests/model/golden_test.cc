// The stated architecture against the official implementation's counts, names, shapes and rates.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <map>
#include <nlohmann/json.hpp>

#include "base/file.h"
#include "spatialmamba/architecture.h"
#include "support/golden.h"
#include "support/weightgen.h"

namespace spatialmamba {
namespace {

using nlohmann::json;

json read_json(const std::string& relative) {
  return json::parse(read_text(test::golden(relative)));
}

/// A variant, or the model that the golden weights of this name hold.
Architecture model_named(const std::string& name) {
  if (std::ranges::count(variant_names(), name) > 0) return architecture_of(name);
  const auto weights = test::golden("classification/nano/" + name + "_weights.safetensors");
  return infer_architecture(read_safetensors(weights).tensors);
}

/// Our operation names are the reference's but for the Python class of the scan.
std::string operation_of(const std::string& reference_name) {
  return reference_name.find("SelectiveScan") == std::string::npos ? reference_name : "selective_scan";
}

void expect_costs(const json& expected, const Architecture& architecture, std::int64_t height,
                  std::int64_t width) {
  EXPECT_EQ(count_parameters(architecture), expected.at("params").get<std::int64_t>());
  EXPECT_EQ(count_buffers(architecture), expected.at("buffers").get<std::int64_t>());
  EXPECT_EQ(count_flops(architecture, height, width), expected.at("flops").get<std::int64_t>());
  const std::vector<TensorSpec> specs = tensor_specs(architecture);
  EXPECT_EQ(std::ranges::count_if(specs, &TensorSpec::trainable),
            expected.at("params_tensors").get<std::int64_t>());

  std::map<std::string, std::int64_t> flops;
  std::int64_t parameters = 0;
  for (const LayerCost& layer : layer_costs(architecture, height, width)) {
    flops[layer.operation] += layer.flops;
    parameters += layer.parameters;
  }
  EXPECT_EQ(parameters, count_parameters(architecture));
  for (const auto& [name, count] : expected.at("by_op").items()) {
    EXPECT_EQ(flops[operation_of(name)], count.get<std::int64_t>()) << name;
  }
}

TEST(ModelGolden, ParametersAndFlops) {
  const json table = read_json("classification/full/params_flops.json");
  ASSERT_FALSE(table.empty());
  for (const auto& [key, expected] : table.items()) {
    SCOPED_TRACE(key);
    const std::size_t size = key.rfind('_') + 1;  // NAME_HEIGHTxWIDTH
    const std::size_t cross = key.find('x', size);
    ASSERT_NE(cross, std::string::npos);
    expect_costs(expected, model_named(key.substr(0, size - 1)), std::stoll(key.substr(size)),
                 std::stoll(key.substr(cross + 1)));
  }
}

TEST(ModelGolden, VariantsAndDropPathRates) {
  const json variants = read_json("classification/facts.json").at("variants");
  ASSERT_FALSE(variants.empty());
  for (const auto& [name, expected] : variants.items()) {
    SCOPED_TRACE(name);
    const Architecture architecture = architecture_of(name);
    EXPECT_EQ(architecture.dims, expected.at("dims").get<std::vector<std::int64_t>>());
    EXPECT_EQ(architecture.depths, expected.at("depths").get<std::vector<std::int64_t>>());
    EXPECT_EQ(architecture.mesa, expected.at("mesa").get<double>());
    EXPECT_EQ(drop_path_rates(architecture), expected.at("drop_path").get<std::vector<double>>());
    EXPECT_EQ(count_parameters(architecture), expected.at("params").get<std::int64_t>());
    EXPECT_EQ(tensor_specs(architecture).size(), expected.at("state_dict_tensors").get<std::size_t>());
  }
}

TEST(ModelGolden, StepRanks) {
  const json ranks = read_json("classification/facts.json").at("dt_rank");
  ASSERT_FALSE(ranks.empty());
  for (const auto& [dim, rank] : ranks.items())
    EXPECT_EQ(dt_rank(std::stoll(dim)), rank.get<std::int64_t>()) << dim;
}

TEST(ModelGolden, NanoStateDictionaryFits) {
  const TensorMap tensors =
      read_safetensors(test::golden("classification/nano/nano_weights.safetensors")).tensors;
  const Architecture architecture = infer_architecture(tensors);
  EXPECT_EQ(compare(architecture, tensors).describe(), "");
  EXPECT_EQ(architecture.variant, "custom");
  for (const TensorSpec& spec : tensor_specs(architecture))
    EXPECT_EQ(tensors.at(spec.name).dtype(), spec.dtype);
}

TEST(ModelGolden, OrderOfParametersIsTheOptimisersNumbering) {
  const json trace = read_json("classification/train/trace.json");
  std::vector<std::string> decay;
  std::vector<std::string> no_decay;
  for (const TensorSpec& spec : tensor_specs(model_named("nano"))) {
    if (!spec.trainable) continue;
    const bool exempt = spec.shape.size() == 1 || spec.name.ends_with(".bias");
    (exempt ? no_decay : decay).push_back(spec.name);
  }
  EXPECT_EQ(decay, trace.at("group0_decay").get<std::vector<std::string>>());
  EXPECT_EQ(no_decay, trace.at("group1_no_decay").get<std::vector<std::string>>());
}

std::string hex64(std::uint64_t value) {
  return fmt::format("{:016x}", value);
}

TEST(WeightGenerator, Vectors) {
  const json file = read_json("classification/full/weightgen_vectors.json");
  const auto seed = file.at("seed").get<std::uint64_t>();
  ASSERT_FALSE(file.at("vectors").empty());
  for (const json& vector : file.at("vectors")) {
    const auto name = vector.at("name").get<std::string>();
    SCOPED_TRACE(name);
    const std::uint64_t hash = test::fnv1a64(name);
    EXPECT_EQ(hex64(hash), vector.at("fnv1a64").get<std::string>());
    EXPECT_EQ(hex64(hash + seed * 0x9E3779B97F4A7C15ULL), vector.at("base").get<std::string>());

    const auto raw = vector.at("v_times_2^23").get<std::vector<double>>();
    const auto n = static_cast<std::int64_t>(raw.size());
    // Offset 0 and a power of two as scale show the integers themselves.
    const std::vector<float> integers = test::generate(name, seed, n, 0.0, 0x1p23);
    EXPECT_EQ(std::vector<double>(integers.begin(), integers.end()), raw);

    const auto shape = vector.at("shape").get<Shape>();
    const bool is_input = name.starts_with("input:");
    const std::vector<float> values = is_input ? test::generate_input(name, seed, n)
                                               : test::generate_weight(name, shape, seed).values<float>();
    const auto bits = vector.at("first5_bits").get<std::vector<std::string>>();
    for (std::size_t i = 0; i < bits.size(); ++i) {
      EXPECT_EQ(fmt::format("{:08x}", std::bit_cast<std::uint32_t>(values.at(i))), bits[i]) << i;
    }
  }
}

TEST(WeightGenerator, ChecksumsOfEveryTensorInOrder) {
  const json file = read_json("classification/full/weightgen_vectors.json");
  const auto seed = file.at("seed").get<std::uint64_t>();
  const json& models = file.at("crc32_of_float32_little_endian_bytes");
  ASSERT_FALSE(models.empty());
  for (const auto& [model, sums] : models.items()) {
    SCOPED_TRACE(model);
    std::size_t checked = 0;
    for (const TensorSpec& spec : tensor_specs(model_named(model))) {
      if (spec.dtype != DType::f32) continue;
      ASSERT_TRUE(sums.contains(spec.name)) << spec.name;
      const Tensor tensor = test::generate_weight(spec.name, spec.shape, seed);
      const uLong sum = ::crc32_z(0, reinterpret_cast<const Bytef*>(tensor.raw()), tensor.bytes());
      ASSERT_EQ(fmt::format("{:08x}", sum), sums.at(spec.name).get<std::string>()) << spec.name;
      ++checked;
    }
    EXPECT_EQ(checked, sums.size());
  }
}

}  // namespace
}  // namespace spatialmamba
