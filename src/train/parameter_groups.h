#pragma once

#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

namespace spatialmamba::train {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

/// The reference's two groups: weights that decay, and those that do not. Names keep their order.
struct ParameterGroups {
  NamedTensors decay;
  NamedTensors no_decay;
};

/// True for everything but one-dimensional tensors and names that end in ".bias". A_logs has two dimensions
/// and decays: the reference marks it as exempt but never reads the mark.
bool decays(const std::string& name, std::int64_t dimensions);

ParameterGroups group_parameters(const NamedTensors& parameters);

/// OpenMMLab's rule for segmentors and detectors: names that hold "norm" do not decay, everything else does
/// (batch norms, called `bn`, and biases included). Frozen parameters are left out.
ParameterGroups group_by_norm(const NamedTensors& state);

}  // namespace spatialmamba::train
