#pragma once

#include <cstdint>

namespace spatialmamba::train {

/// How the factor moves that a loss is multiplied by before it is differentiated. The defaults are those of
/// torch.amp.GradScaler, which knows no least one.
struct LossScaleOptions {
  double initial = 65536.0;
  double growth = 2.0;
  double backoff = 0.5;
  std::int64_t interval = 2000;  ///< updates in a row after which it grows
  double least = 1.0;            ///< gradients that overflow even so would overflow unscaled
};

/// The loss scale of training in half precision: as large as gradients allow, lest small ones vanish.
class LossScale {
 public:
  /// What a resumed run goes on with.
  struct State {
    double value = 1.0;
    std::int64_t good_updates = 0;  ///< since it changed last
  };

  /// Throws UsageError for an initial scale below the least.
  explicit LossScale(const LossScaleOptions& options);

  double value() const { return state_.value; }

  /// An update was made with this scale. It grows no further than single precision reaches.
  void count_update();
  /// The gradients were not finite. False where the scale is the least already.
  bool back_off();

  const State& state() const { return state_; }
  void restore(const State& state) { state_ = state; }

 private:
  LossScaleOptions options_;
  State state_;
};

}  // namespace spatialmamba::train
