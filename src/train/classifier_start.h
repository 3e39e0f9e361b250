#pragma once

#include <torch/torch.h>

#include "data/dataset.h"
#include "nn/spatial_mamba.h"
#include "train/plan.h"
#include "train/recipe.h"
#include "train/trainer.h"

namespace spatialmamba::train {

/// What a run that trains a classifier begins with.

Plan plan_for(const Recipe& recipe, const data::Dataset& training, const RunOptions& options);

/// The recipe's device, of which the processes of a run have one each; they can sum what lies there. Throws
/// Error saying why where there is none.
torch::Device open_device(const Recipe& recipe, const RunOptions& options);

/// The network with its first values, those of --finetune where the run does not resume, on the device.
nn::SpatialMamba start_model(const Plan& plan, const Recipe& recipe, const RunOptions& options,
                             const torch::Device& device, bool resumes);

}  // namespace spatialmamba::train
