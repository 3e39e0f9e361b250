#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "distributed/gradient_reducer.h"
#include "distributed/group.h"
#include "train/adamw.h"
#include "train/loss_scale.h"
#include "train/parameter_groups.h"
#include "train/running_statistics.h"

namespace spatialmamba::train {

struct UpdaterOptions {
  double clip_norm = 5.0;  ///< of all gradients together; 0 switches clipping off
  double ema_decay = 0.9999;
  /// A loss above this counts as exploded, as one that is not finite does.
  double loss_limit = std::numeric_limits<double>::infinity();
  /// Losses are multiplied by a scale before they are differentiated, gradients divided by it before anything
  /// is done with them; for training in half precision.
  std::optional<LossScaleOptions> loss_scale = {};
  /// An update is made of so many replicas of so many passes each. Replicas are normalised each by itself and
  /// share everything between updates; where they run, in one process or in several, changes nothing.
  std::int64_t accumulation = 1;
  std::int64_t replicas = 1;
  /// Replica r is on process r modulo the processes. Null: this process is alone.
  std::shared_ptr<distributed::Group> group = nullptr;
};

/// Why a loss cannot be learnt from.
struct LossProblem {
  enum class Kind { none, not_a_number, infinite, above_limit };
  Kind kind = Kind::none;
  double loss = 0.0;

  bool any() const { return kind != Kind::none; }
};

/// What one update did.
struct Update {
  double learning_rate = 0.0;
  double gradient_norm = 0.0;  ///< before clipping
  bool clipped = false;
  std::optional<double> loss_scale = {};  ///< in use, where losses are scaled
  /// Why the update was skipped, naming the parameter for a gradient; empty where it was made.
  std::string problem = {};
  /// Skipped for gradients of too large a loss scale, which has gone down for the next update.
  bool overflowed = false;
};

/// The step from gradients to new weights, whatever the task: clip, AdamW, moving average; or nothing at all
/// where a loss or a gradient is not usable. For each update: begin_pass(), accept() and differentiate()
/// around the forward pass of each micro-batch, then apply(). In a group every process does so, and all make
/// the same update.
class Updater {
 public:
  /// `value` is the whole state of a model, buffers included, `average` (may be empty) that of its moving
  /// average. In a group both start as the writer's.
  Updater(AdamW optimizer, NamedTensors value, NamedTensors average, const UpdaterOptions& options);

  /// The passes that an update takes in this process, replica by replica.
  std::int64_t passes_per_update() const;

  /// Before a forward pass in training. False: apply() will skip, another pass would be in vain.
  bool begin_pass();
  /// Whether the loss of the pass may be differentiated. Where not, apply() will skip.
  bool accept(double loss);
  /// Backward of the pass's share in the loss of the update. A process of a group does it even for a loss
  /// that is not accepted, since the others wait for its gradients.
  void differentiate(const torch::Tensor& loss);
  /// One update; the gradients are gone afterwards. A skipped one leaves weights, buffers, averages and
  /// moments as they were before the first of its passes. `totals` are values of the caller's, which are
  /// replaced by their sums over all processes.
  Update apply(double learning_rate, std::span<double> totals = {});
  /// Forgets the gradients of passes that will not make an update.
  void drop();
  /// Buffers (the running statistics) become what they were when begin_pass() last began an update.
  void restore_buffers() { statistics_.restore(); }

  AdamW& optimizer() { return optimizer_; }
  const AdamW& optimizer() const { return optimizer_; }
  const NamedTensors& value() const { return value_; }
  const NamedTensors& average() const { return average_; }
  const UpdaterOptions& options() const { return options_; }
  /// Nothing where losses are not scaled.
  std::optional<LossScale>& loss_scale() { return loss_scale_; }
  const std::optional<LossScale>& loss_scale() const { return loss_scale_; }

 private:
  void share(std::span<double> totals);
  void exchange(std::span<double> totals);
  void refuse_gradients(Update& update);

  UpdaterOptions options_;
  AdamW optimizer_;
  NamedTensors value_;
  NamedTensors average_;
  std::optional<LossScale> loss_scale_;
  RunningStatistics statistics_;
  std::unique_ptr<distributed::GradientReducer> reducer_;  ///< of a group
  std::int64_t passes_ = 0;                                ///< made since the last update
  LossProblem loss_problem_;                               ///< of this process
  std::string problem_;                                    ///< why the update to come must be skipped
};

}  // namespace spatialmamba::train
