#pragma once

#include "nn/compute.h"
#include "train/parameter_groups.h"

namespace spatialmamba::train {

/// Exponential moving average of a whole state dictionary, running statistics included (timm's ModelEma):
/// average = decay * average + (1 - decay) * value. An integer entry (num_batches_tracked) is computed in
/// float and truncated, so that it stays where it is for a decay near 1. Both lists name the same tensors in
/// the same order, on one device; throws Error otherwise.
void update_ema(double decay, const NamedTensors& average, const NamedTensors& value, kernels::Isa isa,
                nn::Operators operators = nn::Operators::fused);

}  // namespace spatialmamba::train
