#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "data/dataset.h"

namespace spatialmamba::data {

/// The samples of these numbers, which become 0, 1, ...
Dataset subset(const Dataset& dataset, std::vector<std::int64_t> samples);

struct Parts {
  Dataset training;
  Dataset validation;
};

/// Puts `share` of each class's samples aside for validation, drawn by `seed`: at least one where a class has
/// two. Both parts keep the data set's order.
Parts hold_out(const Dataset& dataset, double share, std::uint64_t seed);

/// As many samples as there are labels, every class that has any as often as the others (to within one), each
/// class's samples as often as each other; from (seed, epoch) alone.
std::vector<std::int64_t> balanced_order(std::span<const std::int64_t> labels, std::int64_t classes,
                                         std::uint64_t seed, std::int64_t epoch);

/// The data set with that order for training.
Dataset balanced(Dataset dataset);

/// Samples of each class.
std::vector<std::int64_t> class_counts(const Dataset& dataset);

}  // namespace spatialmamba::data
