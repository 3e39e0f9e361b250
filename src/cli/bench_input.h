#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "spatialmamba/engine.h"
#include "spatialmamba/tensor.h"

namespace spatialmamba::cli {

/// A batch in memory, NCHW, and what is known of its logits.
struct BenchInput {
  Shape shape;
  std::vector<float> pixels;
  std::vector<float> expected;  ///< logits, or empty

  ImageBatch batch() const {
    return {.data = pixels.data(),
            .count = shape[0],
            .height = shape[2],
            .width = shape[3],
            .layout = ImageBatch::Layout::nchw};
  }
};

/// "1x3x224x224" as the option --shape says it, of that many channels.
Shape parse_shape(const std::string& text, std::int64_t channels);

BenchInput random_input(const Shape& shape, std::uint64_t seed);

/// A .safetensors file with the tensor `input`, and `logits` if they are known.
BenchInput read_input(const std::filesystem::path& path, std::int64_t channels);

}  // namespace spatialmamba::cli
