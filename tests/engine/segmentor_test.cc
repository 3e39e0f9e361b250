// The segmentor in the engine against the official implementation, on every instruction set.
#include <gtest/gtest.h>

#include "kernels/isa.h"
#include "spatialmamba/engine.h"
#include "support/golden.h"

namespace spatialmamba::test {
namespace {

constexpr double kTolerance = 1e-5;
constexpr std::string_view kInput = ".input";

/// (N, H, W, C) as (N, C, H, W).
std::vector<double> channels_first(const Tensor& map) {
  const Shape& shape = map.shape();
  const std::vector<double> values = as_double(map);
  std::vector<double> moved(values.size());
  const auto pixels = static_cast<std::size_t>(shape[1] * shape[2]);
  const auto channels = static_cast<std::size_t>(shape[3]);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t image = i / (pixels * channels);
    const std::size_t pixel = i / channels % pixels;
    moved[(image * channels + i % channels) * pixels + pixel] = values[i];
  }
  return moved;
}

/// The name that the goldens use.
std::string golden_name(const std::string& name) {
  return name == "logits" ? "decode_logits_stride4" : name;
}

TEST(EngineSegmentor, EveryMapOfTheNanoModel) {
  const std::filesystem::path weights = golden("segmentation/nano/checkpoint.pth");
  const Weights file = read_safetensors(golden("segmentation/nano/logits.safetensors"));
  for (const kernels::Isa isa : kernels::supported_isas()) {
    const std::string isa_name(kernels::name_of(isa));
    const Model model = Model::load(weights, {.isa = isa_name});
    EXPECT_EQ(model.task(), Task::segmentation);
    for (const int threads : {1, 3}) {
      Session session(model, {.threads = threads});
      for (const auto& [key, input] : file.tensors) {
        if (!key.ends_with(kInput)) continue;
        const std::string name = key.substr(0, key.size() - kInput.size());
        SCOPED_TRACE(testing::Message() << name << ' ' << isa_name << ", " << threads << " threads");
        const std::vector<double> wide = as_double(input);
        const std::vector<float> pixels(wide.begin(), wide.end());
        const Shape& shape = input.shape();
        int compared = 0;
        for (const auto& [stage, map] : session.stages({.data = pixels.data(),
                                        .count = shape[0],
                                        .height = shape[2],
                                        .width = shape[3],
                                        .layout = ImageBatch::Layout::nchw})) {
          const Tensor* expected = file.tensors.find(name + '.' + golden_name(stage));
          if (expected == nullptr) continue;
          EXPECT_LE(relative_deviation(channels_first(map), as_double(*expected)), kTolerance) << stage;
          ++compared;
        }
        EXPECT_GE(compared, 3);
      }
    }
  }
}

}  // namespace
}  // namespace spatialmamba::test
