#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "nn/spatial_mamba.h"
#include "train/fusion_ablation.h"
#include "train/model_values.h"
#include "train/schedule.h"
#include "train/updater.h"

namespace spatialmamba::train {

struct LearnerOptions {
  AdamWOptions adamw;
  CosineSchedule schedule;
  double clip_norm = 5.0;  ///< of all gradients together; 0 switches clipping off
  std::int64_t accumulation = 1;
  std::int64_t replicas = 1;     ///< see UpdaterOptions
  bool sync_batch_norm = false;  ///< the replicas, one a process, are normalised together
  bool ema = true;
  double ema_decay = 0.9999;
  double mesa = 0.0;  ///< weight of the MESA loss; needs the EMA
  /// A loss above this counts as exploded, as one that is not finite does.
  double loss_limit = std::numeric_limits<double>::infinity();
  std::optional<LossScaleOptions> loss_scale = {};  ///< see UpdaterOptions
  double layer_decay = 1.0;                         ///< see layer_rate_scale()
  /// Of each class in the cross-entropy against the targets, not against the teacher; empty: all the same. A
  /// micro-batch's loss is the mean by these weights.
  std::vector<double> class_weights = {};
  Fusion fusion = Fusion::full;
  std::int64_t frozen_stages = 0;  ///< the stem and so many stages keep weights and running statistics
};

/// What one micro-batch gave.
struct MicroStep {
  double loss = 0.0;  ///< the share in the update's: (cross_entropy + mesa * teacher) / micro-batches
  double cross_entropy = 0.0;  ///< against the targets
  double teacher = 0.0;        ///< cross-entropy against the teacher; 0 without MESA
  /// False: the loss is not finite or has exploded, so nothing was differentiated and update() will skip.
  bool usable = true;
};

/// The arithmetic of training, without data, files or clocks: losses and gradients of micro-batches, and
/// updates in the reference's order (clip, AdamW, schedule, EMA).
class Learner {
 public:
  /// Trains `model`, whose type (float32 or float64) is that of everything else. The EMA starts as its copy.
  /// `group` shares the work; null: this process is alone.
  Learner(nn::SpatialMamba model, const LearnerOptions& options,
          const std::shared_ptr<distributed::Group>& group = nullptr);

  /// Forward and backward of one micro-batch; gradients add up until update(). images (N, C, H, W), targets
  /// (N, classes). With `mesa` the EMA model, in evaluation mode and with its current weights, teaches on the
  /// same images. Once a micro-batch is not usable, those up to the next update() are not looked at.
  MicroStep accumulate(const torch::Tensor& images, const torch::Tensor& targets, bool mesa);

  /// One optimizer update; or none where a loss or gradient was not usable: weights, running statistics and
  /// moments are then those before the first of its micro-batches. `totals` are values of the caller's, which
  /// are replaced by their sums over all processes.
  Update update(std::span<double> totals = {});

  /// Forgets the gradients of micro-batches that will not fill an update.
  void drop_gradients();

  /// Of the images that update() skipped last: the first layer whose output is not finite, "head" coming
  /// last; empty when all are.
  std::string first_non_finite_layer();

  nn::SpatialMamba& model() { return model_; }
  const nn::SpatialMamba& model() const { return model_; }
  /// Null without EMA.
  nn::SpatialMamba& ema_model() { return ema_model_; }
  const nn::SpatialMamba& ema_model() const { return ema_model_; }
  Updater& updater() { return updater_; }
  const Updater& updater() const { return updater_; }
  AdamW& optimizer() { return updater_.optimizer(); }
  const AdamW& optimizer() const { return updater_.optimizer(); }
  const LearnerOptions& options() const { return options_; }
  /// Updates made so far.
  std::int64_t updates() const { return optimizer().updates(); }

 private:
  void begin_training_mode();
  torch::Tensor teach(const torch::Tensor& images);

  LearnerOptions options_;
  nn::SpatialMamba model_;
  nn::SpatialMamba ema_model_{nullptr};
  torch::Tensor class_weights_;  ///< undefined: all the same
  Updater updater_;
  std::vector<std::shared_ptr<torch::nn::Module>> frozen_;
  torch::Tensor images_;  ///< the last ones; those that caused the problem where there is one
};

/// A model of its own with the same architecture, options, element type and values.
nn::SpatialMamba copy_model(const nn::SpatialMambaImpl& model);

/// Runs in evaluation mode without gradients and restores the mode.
torch::Tensor evaluate_logits(nn::SpatialMambaImpl& model, const torch::Tensor& images);

}  // namespace spatialmamba::train
