#pragma once

#include <string>
#include <vector>

#include "detection/boxes.h"
#include "spatialmamba/tensor.h"

namespace spatialmamba::detection::test {

/// A tensor (..., 4) as boxes.
inline std::vector<Box> boxes_of(const Tensor& tensor) {
  const std::vector<float> values = tensor.values<float>();
  std::vector<Box> boxes;
  for (std::size_t i = 0; i < values.size(); i += 4) {
    boxes.push_back({values[i], values[i + 1], values[i + 2], values[i + 3]});
  }
  return boxes;
}

inline std::vector<double> flat(const std::vector<Box>& boxes) {
  const auto values = coordinates(boxes);
  return {values.begin(), values.end()};
}

}  // namespace spatialmamba::detection::test
