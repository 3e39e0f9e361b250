#include "train/schedule.h"

#include <cmath>
#include <numbers>

#include "base/error.h"

namespace spatialmamba::train {

double CosineSchedule::at(std::int64_t t) const {
  if (t < warmup_updates) {
    const double slope = (base_rate - warmup_rate) / static_cast<double>(warmup_updates);
    return warmup_rate + static_cast<double>(t) * slope;
  }
  const std::int64_t length = total_updates - warmup_updates;
  const std::int64_t passed = t - warmup_updates;
  if (passed >= length) return minimum_rate;
  const double angle = std::numbers::pi * static_cast<double>(passed) / static_cast<double>(length);
  return minimum_rate + 0.5 * (base_rate - minimum_rate) * (1.0 + std::cos(angle));
}

void validate(const CosineSchedule& schedule) {
  if (schedule.total_updates < 1) fail_usage("the schedule has no updates");
  if (schedule.warmup_updates < 0 || schedule.warmup_updates >= schedule.total_updates) {
    fail_usage("the warm-up takes {} updates, expected fewer than the {} of the whole run",
               schedule.warmup_updates, schedule.total_updates);
  }
}

}  // namespace spatialmamba::train
