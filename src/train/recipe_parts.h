#pragma once

#include "image/transform.h"
#include "nn/spatial_mamba.h"
#include "train/adamw.h"
#include "train/iteration_run.h"
#include "train/recipe.h"
#include "train/updater.h"

namespace spatialmamba::train {

/// What recipes of all tasks have in common, in the terms of the modules that carry it out.

/// The variant that the recipe names or describes, with its drop path.
Architecture variant_of(const Recipe& recipe);
/// The same as a feature extractor for colour pictures.
Architecture backbone_of(const Recipe& recipe);

nn::ModelOptions model_options(const Recipe& recipe);
torch::ScalarType element_type(const Recipe& recipe);
/// Mean and deviation, sides and channels.
image::InputFormat input_format(const Recipe::Data& data);
AdamWOptions adamw_options(const Recipe& recipe);
/// Nothing where the recipe trains without scaling its loss.
std::optional<LossScaleOptions> loss_scale_options(const Recipe& recipe);
UpdaterOptions updater_options(const Recipe& recipe, std::int64_t replicas,
                               const std::shared_ptr<distributed::Group>& group);

/// Of a task that counts iterations.
IterationPlan iteration_plan(const Recipe& recipe);

/// What the weights files of a task say about themselves; `fit` are the long and the short side that pictures
/// are fitted into.
std::map<std::string, std::string> description_of(const Recipe& recipe,
                                                  const std::vector<std::string>& classes,
                                                  const std::vector<std::int64_t>& fit);

/// Throws UsageError for what a recipe or a run can want of classifiers only.
void refuse_classifiers_options(const Recipe& recipe, const RunOptions& options);

}  // namespace spatialmamba::train
