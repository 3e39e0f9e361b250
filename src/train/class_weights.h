#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "train/recipe.h"

namespace spatialmamba::train {

/// The weight of each class in the loss, `counts` being the training images of each; empty where all count
/// the same. `balanced` gives a class of n of the N images N / (n * classes that have any), so that every
/// class weighs as much as the others and an image 1 on average; a class without images gets 1. Throws
/// UsageError for a list that is not as long as there are classes, and for `balanced` beside data.balance,
/// which would make up for rareness twice.
std::vector<double> class_weights(const Recipe& recipe, std::span<const std::int64_t> counts);

}  // namespace spatialmamba::train
