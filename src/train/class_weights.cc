#include "train/class_weights.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"

namespace spatialmamba::train {
namespace {

std::vector<double> balanced_weights(std::span<const std::int64_t> counts) {
  const auto images = static_cast<double>(std::reduce(counts.begin(), counts.end(), std::int64_t{0}));
  const auto present = static_cast<double>(std::ranges::count_if(counts, [](auto n) { return n > 0; }));
  std::vector<double> weights;
  for (const std::int64_t count : counts) {
    weights.push_back(count > 0 ? images / (static_cast<double>(count) * present) : 1.0);
  }
  return weights;
}

}  // namespace

std::vector<double> class_weights(const Recipe& recipe, std::span<const std::int64_t> counts) {
  const ClassWeights& wanted = recipe.train.class_weights;
  if (wanted.balanced) {
    if (recipe.data.balance) {
      fail_usage(
          "train.class_weights is balanced and data.balance is true: either makes up for rare classes, both "
          "would do it twice; set data.balance=false or train.class_weights=none");
    }
    return balanced_weights(counts);
  }
  if (!wanted.listed.empty() && wanted.listed.size() != counts.size()) {
    fail_usage("train.class_weights has {} values, expected one for each of the {} classes",
               wanted.listed.size(), counts.size());
  }
  return wanted.listed;
}

}  // namespace spatialmamba::train
