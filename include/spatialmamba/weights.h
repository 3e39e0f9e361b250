#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "spatialmamba/tensor.h"

namespace spatialmamba {

/// A state dictionary and what its file says about itself.
struct Weights {
  TensorMap tensors;
  std::map<std::string, std::string> metadata;
};

/// Reads a .safetensors file. The tensors view the mapped file; nothing is copied.
/// Throws Error (file, expectation, finding) for anything that is not a well-formed file.
Weights read_safetensors(const std::filesystem::path& path);

/// Writes all tensors in their order, atomically. Throws Error naming the file.
void write_safetensors(const std::filesystem::path& path, const Weights& weights);

/// Reads a PyTorch .pth (zip or pre-1.6 format) without executing anything. `key` picks an entry of the top-level
/// dictionary, e.g. "model_ema"; when empty the first that exists of "model", "state_dict", or the dictionary
/// itself. Throws Error listing the keys that there are.
Weights read_pth(const std::filesystem::path& path, const std::string& key = {});

/// Writes `{top_key: state_dict}` in PyTorch's zip format (a bare state_dict when top_key is empty), readable by
/// torch.load(weights_only=True).
void write_pth(const std::filesystem::path& path, const Weights& weights, const std::string& top_key = "model");

/// Either format, told apart by content, not by name.
Weights read_weights(const std::filesystem::path& path, const std::string& key = {});

}  // namespace spatialmamba
