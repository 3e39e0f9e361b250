// The network as our engine computes it.
#include <algorithm>
#include <cmath>
#include <mutex>

#include "base/error.h"
#include "cli/network_backend.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::cli {
namespace {

class EngineNetwork : public NetworkBackend {
 public:
  EngineNetwork(Model model, int threads) : session_(std::move(model), {.threads = threads}) {}

  const Architecture& architecture() const override { return session_.model().architecture(); }

  TensorMap stages(const Tensor& images, bool all) const override {
    const std::vector<float> pixels = as_floats(images);
    const Shape& shape = images.shape();
    TensorMap maps = session_.stages({.data = pixels.data(),
                                      .count = shape[0],
                                      .height = shape[2],
                                      .width = shape[3],
                                      .layout = ImageBatch::Layout::nchw},
                                     all);
    for (const auto& [name, map] : maps) {
      const std::span values(map.data<float>(), static_cast<std::size_t>(map.numel()));
      if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); })) {
        fail("{}: the network's output there is not finite (NaN or infinite)", name);
      }
    }
    return maps;
  }

  std::vector<float> logits(std::span<const float> images, std::int64_t n, ImageSize size) const override {
    const auto logits =
        session_.logits({.data = images.data(), .count = n, .height = size.height, .width = size.width});
    return {logits.begin(), logits.end()};
  }

  std::vector<StateMaps> states(std::span<const float>, std::int64_t, ImageSize) const override {
    fail_usage("the engine keeps no states: --backend torch does");
  }

 private:
  static std::vector<float> as_floats(const Tensor& images) {
    if (images.dtype() == DType::f32) return images.values<float>();
    const std::vector<double> wide = images.values<double>();
    return {wide.begin(), wide.end()};
  }

  mutable Session session_;  // works in memory of its own
};

}  // namespace

std::shared_ptr<NetworkBackend> open_engine_network(const Weights& weights, const std::string& source,
                                                    const NetworkOptions& options) {
  const ModelOptions how{.precision = options.precision == Precision::bf16 ? EnginePrecision::bf16
                                                                           : EnginePrecision::fp32};
  return std::make_shared<EngineNetwork>(Model::build(weights, how, source), options.threads);
}

}  // namespace spatialmamba::cli
