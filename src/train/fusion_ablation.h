#pragma once

#include <string_view>

#include "nn/spatial_mamba.h"

namespace spatialmamba::train {

/// The paper's ablations of the state fusion, as constraints on the parameters of the one network: names,
/// shapes and kernels stay what they are, and the weights mean the same to everything that reads them.
enum class Fusion {
  full,          ///< dilations 1, 3 and 5
  off,           ///< the states themselves: the first kernel is the identity, the others weigh nothing
  dilation_1,    ///< the kernels of dilation 3 and 5 weigh nothing
  dilation_1_3,  ///< that of dilation 5 weighs nothing
  shared,        ///< one kernel for all three dilations
};

/// Throws UsageError listing the known names: full, off, dilation_1, dilation_1_3, shared.
Fusion fusion_from_name(std::string_view name);

/// Sets what the ablation fixes and excludes it from learning. Call it before the optimizer is made.
void constrain_fusion(nn::SpatialMambaImpl& model, Fusion fusion);

/// Makes an update keep to the ablation. Call it on each update's gradients.
void constrain_fusion_gradients(nn::SpatialMambaImpl& model, Fusion fusion);

}  // namespace spatialmamba::train
