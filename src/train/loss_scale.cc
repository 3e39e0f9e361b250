#include "train/loss_scale.h"

#include <algorithm>
#include <limits>

#include "base/error.h"

namespace spatialmamba::train {

LossScale::LossScale(const LossScaleOptions& options) : options_(options), state_{.value = options.initial} {
  if (options.initial < options.least) {
    fail_usage("the loss scale starts with {}, below its least, {}", options.initial, options.least);
  }
}

void LossScale::count_update() {
  if (++state_.good_updates < options_.interval) return;
  state_.good_updates = 0;
  const double grown = state_.value * options_.growth;
  if (grown <= std::numeric_limits<float>::max()) state_.value = grown;
}

bool LossScale::back_off() {
  state_.good_updates = 0;
  if (state_.value <= options_.least) return false;
  state_.value = std::max(state_.value * options_.backoff, options_.least);
  return true;
}

}  // namespace spatialmamba::train
