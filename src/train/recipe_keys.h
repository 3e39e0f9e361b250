#pragma once

#include <limits>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "train/recipe.h"

namespace spatialmamba::train {

/// Where a key's value lives in a Recipe.
template <typename T>
using Field = T& (*)(Recipe&);

using AnyField =
    std::variant<Field<bool>, Field<std::int64_t>, Field<std::uint64_t>, Field<double>,
                 Field<std::optional<double>>, Field<std::string>, Field<std::vector<std::int64_t>>,
                 Field<std::vector<double>>, Field<ClassWeights>>;

enum class Effect {
  result,   ///< decides what is computed: a resumed run must agree
  conduct,  ///< speed and output only
};

/// One key of a recipe.
struct RecipeKey {
  std::string name;  ///< "train.epochs"
  AnyField field;
  std::string help;
  double low = -std::numeric_limits<double>::infinity();  ///< of a number, or each number of a list
  double high = std::numeric_limits<double>::infinity();
  std::vector<std::string> choices = {};  ///< of a text; empty: any
  Effect effect = Effect::result;
};

/// All keys, by section, in the order of a recipe file. The sections (recipe_*_keys.cc) are
/// the only places where they are listed.
std::span<const RecipeKey> recipe_keys();

}  // namespace spatialmamba::train
