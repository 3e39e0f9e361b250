#pragma once

#include <cstdint>
#include <string>

#include "nn/spatial_mamba.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::nn {

struct LoadOptions {
  bool allow_missing = false;     ///< those tensors keep their values
  bool allow_unexpected = false;  ///< those are ignored
  /// A head of another class count (or none) is initialised anew from `seed` instead of loaded.
  bool reset_head = false;
  std::uint64_t seed = 0;
};

struct LoadReport {
  WeightsMismatch mismatch;  ///< what was allowed
  bool head_was_reset = false;
};

/// Copies all tensors into parameters and buffers, converting to their type. Throws Error with the full lists
/// of missing, unexpected and mis-shaped names (where not allowed) and `source` in front, before anything is
/// changed.
LoadReport load_weights(SpatialMambaImpl& model, const TensorMap& tensors, const std::string& source,
                        const LoadOptions& options = {});

/// Copies of all parameters and buffers in the reference's order and the model's type, with metadata `task`
/// and `variant`.
Weights to_weights(const SpatialMambaImpl& model);

/// Parameters and buffers by name, in the order of tensor_specs(). The tensors share the model's storage.
std::vector<std::pair<std::string, torch::Tensor>> named_state(const SpatialMambaImpl& model);

/// A tensor of LibTorch's that holds a copy of the elements.
torch::Tensor to_torch(const spatialmamba::Tensor& tensor);
/// A copy of a LibTorch tensor of any memory format.
spatialmamba::Tensor from_torch(const torch::Tensor& tensor);

}  // namespace spatialmamba::nn
