// bfloat16 products against single precision, on the official implementation's goldens and on random weights.
#include <gtest/gtest.h>

#include "engine/small_model.h"
#include "kernels/isa.h"
#include "support/full_model.h"
#include "support/golden.h"

namespace spatialmamba::test {
namespace {

constexpr double kBf16Tolerance = 3e-2;

void expect_bf16_near_fp32(const Weights& weights, const ImageBatch& images) {
  Session exact(Model::build(weights));
  const std::vector<double> expected = widened(exact.logits(images));
  // avx512bf16 and amx multiply in ways of their own; the others round and multiply in full.
  for (const kernels::Isa isa : kernels::supported_isas()) {
    if (isa < kernels::Isa::avx512 && isa != kernels::supported_isas().back()) continue;
    const std::string name(kernels::name_of(isa));
    Session session(Model::build(weights, {.precision = EnginePrecision::bf16, .isa = name}));
    const double deviation = relative_deviation(widened(session.logits(images)), expected);
    EXPECT_LE(deviation, kBf16Tolerance) << name;
    EXPECT_GT(deviation, 1e-6) << name << " computed as in fp32";
  }
}

TEST(Bf16, NanoModelOfTheGoldens) {
  const Weights weights = read_weights(golden("classification/nano/nano_weights.safetensors"));
  const Weights file = read_safetensors(golden("classification/nano/nano_eval.safetensors"));
  for (const std::string& name : cases_of(file.tensors)) {
    SCOPED_TRACE(name);
    const Tensor& input = file.tensors.at(name + "/input");
    const std::vector<double> wide = as_double(input);
    const std::vector<float> pixels(wide.begin(), wide.end());
    expect_bf16_near_fp32(weights, {pixels.data(), input.shape()[0], input.shape()[2], input.shape()[3],
                                    ImageBatch::Layout::nchw});
  }
}

class Bf16 : public testing::TestWithParam<const char*> {};

TEST_P(Bf16, FullModelsOfTheGoldens) {
  const std::vector<std::filesystem::path> files = full_model_files(GetParam());
  if (files.empty()) GTEST_SKIP() << "no golden of variant " << GetParam();
  for (const std::filesystem::path& path : files) {
    const FullModelCase model = full_model_case(path);
    SCOPED_TRACE(model.name);
    const Shape& shape = model.input.shape();
    const std::vector<float> pixels = model.input.values<float>();
    expect_bf16_near_fp32({model.weights, {}},
                          {pixels.data(), shape[0], shape[2], shape[3], ImageBatch::Layout::nchw});
  }
}

TEST_P(Bf16, RandomWeights) {
  const Images images(1, 64, 40);
  expect_bf16_near_fp32({initial_weights(architecture_of(GetParam()), 3), {}}, images.batch());
}

INSTANTIATE_TEST_SUITE_P(Variants, Bf16, testing::Values("tiny", "small", "base"));

}  // namespace
}  // namespace spatialmamba::test
