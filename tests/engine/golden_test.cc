// The engine through its public interface against the official implementation, on every instruction set.
#include <gtest/gtest.h>

#include "kernels/isa.h"
#include "spatialmamba/engine.h"
#include "support/full_model.h"
#include "support/golden.h"

namespace spatialmamba::test {
namespace {

constexpr double kNanoTolerance = 5e-6;
constexpr double kFullTolerance = 2e-5;

ImageBatch nchw(const std::vector<float>& values, const Shape& shape) {
  return {.data = values.data(),
          .count = shape[0],
          .height = shape[2],
          .width = shape[3],
          .layout = ImageBatch::Layout::nchw};
}

TEST(EngineGolden, EveryStageOfTheNanoModel) {
  const std::filesystem::path weights = golden("classification/nano/nano_weights.safetensors");
  const Weights file = read_safetensors(golden("classification/nano/nano_eval.safetensors"));
  for (const kernels::Isa isa : kernels::supported_isas()) {
    const std::string isa_name(kernels::name_of(isa));
    const Model model = Model::load(weights, {.isa = isa_name});
    for (const int threads : {1, 3}) {
      Session session(model, {.threads = threads});
      for (const std::string& name : cases_of(file.tensors)) {
        SCOPED_TRACE(testing::Message() << name << ' ' << isa_name << ", " << threads << " threads");
        const Tensor& input = file.tensors.at(name + "/input");
        const std::vector<double> wide = as_double(input);
        const std::vector<float> pixels(wide.begin(), wide.end());
        const TensorMap stages = session.stages(nchw(pixels, input.shape()), true);
        const std::string prefix = name + "/f64/";
        int compared = 0;
        for (const auto& [key, expected] : file.tensors) {
          if (!key.starts_with(prefix)) continue;
          const Tensor* actual = stages.find(key.substr(prefix.size()));
          ASSERT_NE(actual, nullptr) << key;
          EXPECT_LE(relative_deviation(as_double(*actual), as_double(expected)), kNanoTolerance) << key;
          ++compared;
        }
        EXPECT_GT(compared, 0);
      }
    }
  }
}

class FullModel : public testing::TestWithParam<const char*> {};

TEST_P(FullModel, StagesAndLogits) {
  const std::vector<std::filesystem::path> files = full_model_files(GetParam());
  if (files.empty()) GTEST_SKIP() << "no golden of variant " << GetParam();
  for (const std::filesystem::path& path : files) {
    const FullModelCase golden_model = full_model_case(path);
    SCOPED_TRACE(golden_model.name);
    Session session(Model::build({golden_model.weights, {}}));
    const std::vector<float> pixels = golden_model.input.values<float>();
    for (const auto& [stage, map] : session.stages(nchw(pixels, golden_model.input.shape()))) {
      expect_stage(golden_model, stage, map, kFullTolerance);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Variants, FullModel, testing::Values("tiny", "small", "base"));

}  // namespace
}  // namespace spatialmamba::test
