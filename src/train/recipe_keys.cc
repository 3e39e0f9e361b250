#include "train/recipe_keys.h"

#include "train/recipe_sections.h"

namespace spatialmamba::train {
namespace {

std::vector<RecipeKey> all_keys() {
  std::vector<RecipeKey> all;
  for (const auto section : {model_keys, data_keys, augment_keys, segmentation_keys, detection_keys,
                             train_keys, optimizer_keys, output_keys}) {
    for (RecipeKey& key : section()) all.push_back(std::move(key));
  }
  return all;
}

}  // namespace

std::span<const RecipeKey> recipe_keys() {
  static const std::vector<RecipeKey> keys = all_keys();
  return keys;
}

}  // namespace spatialmamba::train
