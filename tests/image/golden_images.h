#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <zlib.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "image/image.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::test {

inline nlohmann::json eval_facts() {
  return nlohmann::json::parse(read_text(golden("classification/data/eval_transform.json")));
}

inline const Weights& eval_tensors() {
  static const Weights weights = read_safetensors(golden("classification/data/eval_transform.safetensors"));
  return weights;
}

inline std::filesystem::path golden_photograph(const std::string& name) {
  return golden("classification/data/images/" + name);
}

/// A u8 tensor of shape HWC.
inline image::Image picture_of(const Tensor& tensor) {
  const Shape& shape = tensor.shape();
  if (shape.size() != 3) fail("golden picture of shape {}", to_string(shape));
  image::Image picture(static_cast<int>(shape[1]), static_cast<int>(shape[0]), static_cast<int>(shape[2]));
  picture.pixels = tensor.values<std::uint8_t>();
  return picture;
}

/// CRC-32 of the pixels, as eval_transform.json writes it.
inline std::string crc_of(const image::Image& picture) {
  return fmt::format("{:08x}", crc32(0, picture.pixels.data(), static_cast<uInt>(picture.pixels.size())));
}

/// Largest difference of two pictures' values; 256 when they are of different shape.
inline int largest_difference(const image::Image& a, const image::Image& b) {
  if (a.width != b.width || a.height != b.height || a.channels != b.channels) return 256;
  int largest = 0;
  for (std::size_t i = 0; i < a.pixels.size(); ++i)
    largest = std::max(largest, std::abs(a.pixels[i] - b.pixels[i]));
  return largest;
}

/// "A/b" of every tensor whose name ends in "/b": the names A.
inline std::vector<std::string> names_with(const Weights& weights, const std::string& ending) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : weights.tensors) {
    if (name.ends_with("/" + ending)) names.push_back(name.substr(0, name.size() - ending.size() - 1));
  }
  if (names.empty()) fail("the golden file holds nothing named */{}", ending);
  return names;
}

}  // namespace spatialmamba::test
