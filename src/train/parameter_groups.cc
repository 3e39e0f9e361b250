#include "train/parameter_groups.h"

namespace spatialmamba::train {

bool decays(const std::string& name, std::int64_t dimensions) {
  return dimensions != 1 && !name.ends_with(".bias");
}

ParameterGroups group_parameters(const NamedTensors& parameters) {
  ParameterGroups groups;
  for (const auto& entry : parameters) {
    (decays(entry.first, entry.second.dim()) ? groups.decay : groups.no_decay).push_back(entry);
  }
  return groups;
}

ParameterGroups group_by_norm(const NamedTensors& state) {
  ParameterGroups groups;
  for (const auto& entry : state) {
    if (!entry.second.requires_grad()) continue;
    (entry.first.find("norm") == std::string::npos ? groups.decay : groups.no_decay).push_back(entry);
  }
  return groups;
}

}  // namespace spatialmamba::train
