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

/// Reads a .safetensors file. The tensors view the mapped file; only one that is not aligned for its element
/// type there is copied. Throws Error (file, expectation, finding) for anything that is not a well-formed
/// file.
Weights read_safetensors(const std::filesystem::path& path);

/// Writes all tensors, listed in their order, atomically. Their data stand widest element type first, so that
/// all of them are aligned. Throws Error naming the file.
void write_safetensors(const std::filesystem::path& path, const Weights& weights);

/// Reads a PyTorch .pth (zip or pre-1.6 format) without executing anything. `key` picks an entry of the
/// top-level dictionary, e.g. "model_ema"; when empty the first that exists of "model", "state_dict", or the
/// dictionary itself. Throws Error listing the keys that there are. Contiguous tensors view the mapped file.
/// The metadata are those that write_pth() put there.
Weights read_pth(const std::filesystem::path& path, const std::string& key = {});

/// Writes `{top_key: state_dict}` in PyTorch's zip format (a bare state_dict when top_key is empty), readable
/// by torch.load(weights_only=True), atomically. Metadata go to a dictionary of texts at the key "metadata";
/// a bare state_dict has none. Throws Error naming the file, also beyond 4 GiB.
void write_pth(const std::filesystem::path& path, const Weights& weights,
               const std::string& top_key = "model");

/// Either format, told apart by content, not by name. In a .safetensors file of a training run, where names
/// are `KEY/NAME`, `key` picks a set as it does in a .pth, "model" by default. Throws Error listing the keys.
Weights read_weights(const std::filesystem::path& path, const std::string& key = {});

}  // namespace spatialmamba
