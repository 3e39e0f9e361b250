#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "base/file.h"
#include "spatialmamba/weights.h"
#include "support/golden.h"

namespace spatialmamba::test {

inline std::filesystem::path nano_weights() {
  return golden("classification/nano/nano_weights.safetensors");
}

/// A copy of the nano weights in which `change` may replace a tensor or (by an empty name) leave it out.
inline void write_changed_weights(const std::filesystem::path& path,
                                  const std::function<void(std::string& name, Tensor& tensor)>& change) {
  const Weights original = read_weights(nano_weights());
  Weights changed;
  changed.metadata = original.metadata;
  for (const auto& [name, tensor] : original.tensors) {
    std::string new_name = name;
    Tensor new_tensor = tensor;
    change(new_name, new_tensor);
    if (!new_name.empty()) changed.tensors.add(new_name, new_tensor);
  }
  write_safetensors(path, changed);
}

/// The first half of a file.
inline void write_truncated(const std::filesystem::path& from, const std::filesystem::path& to) {
  const std::vector<std::byte> bytes = read_file(from);
  write_file(to, std::span(bytes).first(bytes.size() / 2));
}

}  // namespace spatialmamba::test
