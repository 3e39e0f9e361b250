#include "train/schedule.h"

#include <algorithm>
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

namespace {

/// OpenMMLab's warm-up reaches 1 in its last iteration.
double warmup_share(double first, std::int64_t iterations, std::int64_t iteration) {
  if (iteration >= iterations) return 1.0;
  const auto steps = static_cast<double>(std::max<std::int64_t>(iterations - 1, 1));
  return first + (1.0 - first) * static_cast<double>(iteration) / steps;
}

}  // namespace

double PolySchedule::at(std::int64_t iteration) const {
  if (iteration < warmup_iterations) {
    return base_rate * warmup_share(warmup_factor, warmup_iterations, iteration);
  }
  const auto steps = static_cast<double>(std::max<std::int64_t>(total_iterations - warmup_iterations - 1, 1));
  const double passed = static_cast<double>(iteration - warmup_iterations) / steps;
  return base_rate * std::pow(std::max(1.0 - passed, 0.0), power);
}

double StepSchedule::at(std::int64_t iteration) const {
  constexpr double kDrop = 0.1;
  double rate = base_rate * warmup_share(warmup_factor, warmup_iterations, iteration);
  for (const std::int64_t milestone : milestones) {
    if (iteration >= milestone) rate *= kDrop;
  }
  return rate;
}

void validate(const StepSchedule& schedule) {
  if (!std::ranges::is_sorted(schedule.milestones)) fail_usage("optimizer.milestones must ascend");
}

void validate(const PolySchedule& schedule) {
  if (schedule.total_iterations < 1) fail_usage("the schedule has no iterations");
  if (schedule.warmup_iterations < 0 || schedule.warmup_iterations >= schedule.total_iterations) {
    fail_usage("the warm-up takes {} iterations, expected fewer than the {} of the whole run",
               schedule.warmup_iterations, schedule.total_iterations);
  }
}

void validate(const CosineSchedule& schedule) {
  if (schedule.total_updates < 1) fail_usage("the schedule has no updates");
  if (schedule.warmup_updates < 0 || schedule.warmup_updates >= schedule.total_updates) {
    fail_usage("the warm-up takes {} updates, expected fewer than the {} of the whole run",
               schedule.warmup_updates, schedule.total_updates);
  }
}

}  // namespace spatialmamba::train
