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

/// Parameters and buffers by name. The tensors share the model's storage.
using NamedState = std::vector<std::pair<std::string, torch::Tensor>>;

/// In the order of tensor_specs().
NamedState named_state(const SpatialMambaImpl& model);
/// The same for a model of any task whose tensors these are.
NamedState named_state(const torch::nn::Module& model, const std::vector<TensorSpec>& specs);

/// load_weights() for a model of any task, given its state and how the tensors differ from what it expects.
/// What is allowed to be missing keeps its values.
void load_state(const NamedState& state, const TensorMap& tensors, const WeightsMismatch& mismatch,
                const std::string& source, const std::string& model, const LoadOptions& options = {});

/// Copies of a state, in its order.
TensorMap to_tensors(const NamedState& state);

/// A tensor of LibTorch's that holds a copy of the elements.
torch::Tensor to_torch(const spatialmamba::Tensor& tensor);
/// A copy of a LibTorch tensor of any memory format, on any device.
spatialmamba::Tensor from_torch(const torch::Tensor& tensor);

}  // namespace spatialmamba::nn
