#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "train/recipe_keys.h"

namespace spatialmamba::train {

// Types of fields.
using Integers = std::vector<std::int64_t>;
using Reals = std::vector<double>;
using Optional = std::optional<double>;

/// The keys of each section, in the order of a recipe file; recipe_keys() has them all.
std::vector<RecipeKey> model_keys();
std::vector<RecipeKey> data_keys();
std::vector<RecipeKey> augment_keys();
std::vector<RecipeKey> segmentation_keys();
std::vector<RecipeKey> detection_keys();
std::vector<RecipeKey> train_keys();
std::vector<RecipeKey> optimizer_keys();
std::vector<RecipeKey> output_keys();

}  // namespace spatialmamba::train
