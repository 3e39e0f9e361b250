#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "train/adamw.h"
#include "train/parameter_groups.h"

namespace spatialmamba::train {

struct UpdaterOptions {
  double clip_norm = 5.0;  ///< of all gradients together; 0 switches clipping off
  double ema_decay = 0.9999;
  /// A loss above this counts as exploded, as one that is not finite does.
  double loss_limit = std::numeric_limits<double>::infinity();
};

/// What one update did.
struct Update {
  double learning_rate = 0.0;
  double gradient_norm = 0.0;  ///< before clipping
  bool clipped = false;
  /// Why the update was skipped, naming the parameter for a gradient; empty where it was made.
  std::string problem = {};
};

/// The step from gradients to new weights, whatever the task: clip, AdamW, moving average; or nothing at all
/// where a loss or a gradient is not usable. For each update: begin_pass() and accept() around the forward
/// pass of each micro-batch, whose backward pass adds up gradients, then apply().
class Updater {
 public:
  /// `value` is the whole state of a model, buffers included, `average` (may be empty) that of its moving
  /// average.
  Updater(AdamW optimizer, NamedTensors value, NamedTensors average, const UpdaterOptions& options);

  /// Before a forward pass in training. False: apply() will skip, another pass would be in vain.
  bool begin_pass();
  /// Whether the loss of the pass may be differentiated. Where not, apply() will skip.
  bool accept(double loss);
  /// One update; the gradients are gone afterwards. A skipped one leaves weights, buffers, averages and
  /// moments as they were before the first of its passes.
  Update apply(double learning_rate);
  /// Forgets the gradients of passes that will not make an update.
  void drop();
  /// Buffers (the running statistics) become what they were when begin_pass() last began an update.
  void restore_buffers();

  AdamW& optimizer() { return optimizer_; }
  const AdamW& optimizer() const { return optimizer_; }
  const NamedTensors& value() const { return value_; }
  const NamedTensors& average() const { return average_; }

 private:
  void remember_buffers();

  UpdaterOptions options_;
  AdamW optimizer_;
  NamedTensors value_;
  NamedTensors average_;
  std::vector<std::pair<torch::Tensor, torch::Tensor>> buffers_;  ///< each with its value before the update
  bool begun_ = false;   ///< a pass has been made since the last update
  std::string problem_;  ///< why the update to come must be skipped
};

}  // namespace spatialmamba::train
