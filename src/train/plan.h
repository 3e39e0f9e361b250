#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/augment.h"
#include "data/loader.h"
#include "data/mixup.h"
#include "image/transform.h"
#include "nn/spatial_mamba.h"
#include "train/checkpoint.h"
#include "train/learner.h"
#include "train/recipe.h"

namespace spatialmamba::train {

/// A recipe in the terms of the modules that carry it out.
struct Plan {
  Architecture architecture;
  nn::ModelOptions model;
  torch::ScalarType element_type = torch::kFloat32;
  LearnerOptions learner;
  data::TrainTransform train_transform;
  image::EvalTransform eval_transform;
  data::MixupConfig mixup;
  data::LoaderOptions train_loader;  ///< epoch, start_batch and the share's process are the run's
  std::int64_t updates_per_epoch = 0;
  std::int64_t first_mesa_epoch = 0;  ///< int(mesa_start * epochs), from 0
  Description description;            ///< of the weights files
};

/// Throws UsageError for a recipe that does not fit the data: too few pictures for one update, no classes, …
///
/// `processes` share each update. Its images are the same whatever their number. Its replicas are the
/// recipe's where each process gets one or more of them; for more processes than that, and to be normalised
/// together, the batches are cut anew, one replica for each process, or UsageError is thrown where they
/// cannot be.
Plan make_plan(const Recipe& recipe, const std::vector<std::string>& classes, std::int64_t train_images,
               std::int64_t processes = 1);

}  // namespace spatialmamba::train
