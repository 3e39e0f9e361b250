#include "cli/bench_input.h"

#include <charconv>

#include "base/error.h"
#include "base/random.h"
#include "cli/inputs.h"

namespace spatialmamba::cli {

Shape parse_shape(const std::string& text, std::int64_t channels) {
  constexpr std::int64_t kMostValues = std::int64_t{1} << 33;
  Shape shape;
  std::int64_t values = 1;
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  while (at < end) {
    std::int64_t size = 0;
    const auto [next, error] = std::from_chars(at, end, size);
    if (error != std::errc() || size < 1 || size > kMostValues / values) break;
    if (next != end && (*next != 'x' || next + 1 == end)) break;
    values *= size;
    shape.push_back(size);
    at = next == end ? end : next + 1;
  }
  if (at != end || shape.size() != 4 || shape[1] != channels) {
    fail_usage("--shape '{}': expected BATCHx{}xHEIGHTxWIDTH such as 1x{}x224x224", text, channels, channels);
  }
  return shape;
}

BenchInput random_input(const Shape& shape, std::uint64_t seed) {
  BenchInput input{.shape = shape,
                   .pixels = std::vector<float>(static_cast<std::size_t>(element_count(shape))),
                   .expected = {}};
  Random random(seed);
  for (float& value : input.pixels) value = static_cast<float>(random.uniform(-2.0, 2.0));
  return input;
}

BenchInput read_input(const std::filesystem::path& path, std::int64_t channels) {
  const Weights file = read_safetensors(path);
  const Tensor images = input_tensor(file, path, channels, {DType::f32});
  BenchInput input{.shape = images.shape(), .pixels = images.values<float>(), .expected = {}};
  if (const Tensor* logits = file.tensors.find("logits"); logits != nullptr) {
    if (logits->dtype() != DType::f32) fail("{}: expected 'logits' of type F32", path.string());
    input.expected = logits->values<float>();
  }
  return input;
}

}  // namespace spatialmamba::cli
