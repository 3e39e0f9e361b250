#include "cli/task_engine.h"

#include <algorithm>
#include <cmath>

#include "cli/network_backend.h"

namespace spatialmamba::cli {

void require_engine(const NetworkOptions& options, std::string_view task) {
  check_choice(options);
  if (options.backend == Backend::torch || !engine_computes_in(options.precision)) {
    fail_usage("{} is computed by the engine, in fp32 or bf16", task);
  }
}

std::string source_of(const NetworkOptions& options) {
  return options.untrained ? options.variant : options.weights.string();
}

Session open_session(const NetworkOptions& options, const Weights& weights) {
  const ModelOptions how{.precision = options.precision == Precision::bf16 ? EnginePrecision::bf16
                                                                           : EnginePrecision::fp32};
  return Session(Model::build(weights, how, source_of(options)), {.threads = options.threads});
}

void require_finite(std::span<const float> values, std::string_view what) {
  if (!std::ranges::all_of(values, [](float v) { return std::isfinite(v); })) {
    fail("{}: the network's output there is not finite (NaN or infinite)", what);
  }
}

std::vector<float> as_floats(const Tensor& images) {
  if (images.dtype() == DType::f32) return images.values<float>();
  const std::vector<double> wide = images.values<double>();
  return {wide.begin(), wide.end()};
}

Tensor channels_first(const Tensor& map) {
  const Shape& shape = map.shape();
  Tensor moved(DType::f32, {shape[0], shape[3], shape[1], shape[2]});
  const float* from = map.data<float>();
  float* to = moved.mutable_data<float>();
  const std::int64_t pixels = shape[1] * shape[2];
  for (std::int64_t n = 0; n < shape[0]; ++n) {
    for (std::int64_t pixel = 0; pixel < pixels; ++pixel) {
      for (std::int64_t c = 0; c < shape[3]; ++c) to[(n * shape[3] + c) * pixels + pixel] = *from++;
    }
  }
  return moved;
}

}  // namespace spatialmamba::cli
