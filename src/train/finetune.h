#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>

#include "spatialmamba/architecture.h"
#include "train/recipe.h"

namespace spatialmamba::train {

/// A recipe to fine-tune weights of this architecture, chosen by the size of the data: `counts` are the
/// training images of each class. Input size and normalisation are those that the weights' metadata name, or
/// else ImageNet's. Few images mean more epochs, a smaller batch, frozen first stages and no mixing; uneven
/// classes are drawn evenly. Throws Error naming `source` for metadata that cannot be read.
Recipe finetune_recipe(const Architecture& architecture, const std::map<std::string, std::string>& metadata,
                       const std::string& source, std::span<const std::int64_t> counts);

}  // namespace spatialmamba::train
