#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "kernels/isa.h"
#include "nn/compute.h"
#include "train/parameter_groups.h"

namespace spatialmamba::train {

struct AdamWOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.05;  ///< of the decaying group; the other has none
  kernels::Isa isa = kernels::default_isa();
  nn::Operators operators = nn::Operators::fused;  ///< for parameters on a CPU; elsewhere they are composed
};

/// torch.optim.AdamW over the reference's two groups, for float32 and float64 parameters. The state is open
/// so that a checkpoint can hold it.
class AdamW {
 public:
  /// One parameter and its moments. All three are contiguous.
  struct Slot {
    std::string name;
    double rate_scale;  ///< its learning rate is multiplied by this
    torch::Tensor parameter;
    torch::Tensor mean;      ///< exp_avg
    torch::Tensor variance;  ///< exp_avg_sq
  };

  /// `rate_scale` says what the learning rate of each parameter is multiplied by; without it, 1.
  AdamW(const ParameterGroups& groups, const AdamWOptions& options,
        const std::function<double(const std::string&)>& rate_scale = nullptr);

  /// One update with gradients multiplied by `grad_scale`; a parameter without gradient stays as it is.
  void step(double learning_rate, double grad_scale = 1.0);
  void zero_grad();

  /// The 2-norm of all gradients together. On a GPU this waits for them; step() does not.
  double gradient_norm() const;
  /// The first parameter whose gradient holds something that is not finite, or empty.
  std::string first_non_finite_gradient() const;

  /// The decaying group first: the order in which PyTorch numbers an optimizer's state.
  const std::vector<Slot>& slots() const { return slots_; }
  const AdamWOptions& options() const { return options_; }
  std::int64_t updates() const { return updates_; }
  void set_updates(std::int64_t updates) { updates_ = updates; }

 private:
  void step_group(std::size_t begin, std::size_t end, double learning_rate, double weight_decay,
                  double grad_scale);
  void step_slots(std::span<const Slot* const> slots, double learning_rate, double weight_decay,
                  double grad_scale);

  AdamWOptions options_;
  std::vector<Slot> slots_;
  std::size_t decaying_;  ///< how many of them decay
  std::int64_t updates_ = 0;
};

}  // namespace spatialmamba::train
