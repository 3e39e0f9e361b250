#pragma once

#include <cstdint>
#include <vector>

namespace spatialmamba::train {

/// timm's CosineLRScheduler as the reference sets it up: linear warm-up, then half a cosine over the
/// remaining updates (warmup_prefix), then the minimum for ever. Everything counts optimizer updates.
struct CosineSchedule {
  double base_rate = 1e-3;
  double warmup_rate = 1e-6;
  double minimum_rate = 1e-5;
  std::int64_t total_updates = 1;   ///< warm-up included
  std::int64_t warmup_updates = 0;  ///< fewer than total_updates

  /// The schedule's own curve, t >= 0.
  double at(std::int64_t t) const;

  /// The rate that update number `update` (from 0) is made with. The reference tells its scheduler the number
  /// of the update that it has just finished, so the first two updates both use at(0).
  double for_update(std::int64_t update) const { return at(update > 0 ? update - 1 : 0); }
};

/// OpenMMLab's LinearLR followed by PolyLR: linear warm-up over the first iterations, then a power of what is
/// left, down to 0 in the very last one.
struct PolySchedule {
  double base_rate = 6e-5;
  double warmup_factor = 1e-6;  ///< of the base rate, in the first iteration
  std::int64_t warmup_iterations = 1500;
  std::int64_t total_iterations = 160'000;  ///< warm-up included
  double power = 1.0;

  /// The rate of iteration `iteration`, from 0.
  double at(std::int64_t iteration) const;
};

/// OpenMMLab's LinearLR and MultiStepLR: linear warm-up over the first iterations, and a tenth of what the
/// rate was from each milestone on.
struct StepSchedule {
  double base_rate = 1e-4;
  double warmup_factor = 1e-3;  ///< of the base rate, in the first iteration
  std::int64_t warmup_iterations = 1000;
  std::vector<std::int64_t> milestones = {};  ///< ascending

  /// The rate of iteration `iteration`, from 0.
  double at(std::int64_t iteration) const;
};

/// Throws UsageError for a schedule that means nothing.
void validate(const CosineSchedule& schedule);
void validate(const PolySchedule& schedule);
void validate(const StepSchedule& schedule);

}  // namespace spatialmamba::train
