#pragma once

#include <cstdint>
#include <optional>

#include "nn/spatial_mamba.h"
#include "train/adamw.h"
#include "train/schedule.h"

namespace spatialmamba::train {

struct LearnerOptions {
  AdamWOptions adamw;
  CosineSchedule schedule;
  double clip_norm = 5.0;  ///< of all gradients together; 0 switches clipping off
  std::int64_t accumulation = 1;
  bool ema = true;
  double ema_decay = 0.9999;
  double mesa = 0.0;  ///< weight of the MESA loss; needs the EMA
};

/// What one micro-batch gave.
struct MicroStep {
  double loss = 0.0;           ///< what was differentiated: (cross_entropy + mesa * teacher) / accumulation
  double cross_entropy = 0.0;  ///< against the targets
  double teacher = 0.0;        ///< cross-entropy against the teacher; 0 without MESA
};

/// What one update did.
struct Update {
  double learning_rate = 0.0;
  double gradient_norm = 0.0;  ///< before clipping
  bool clipped = false;
};

/// The arithmetic of training, without data, files or clocks: losses and gradients of micro-batches, and
/// updates in the reference's order (clip, AdamW, schedule, EMA).
class Learner {
 public:
  /// Trains `model`, whose type (float32 or float64) is that of everything else. The EMA starts as its copy.
  Learner(nn::SpatialMamba model, const LearnerOptions& options);

  /// Forward and backward of one micro-batch; gradients add up until update(). images (N, C, H, W), targets
  /// (N, classes). With `mesa` the EMA model, in evaluation mode and with its current weights, teaches on the
  /// same images. Throws Error when the loss is not finite; the weights are then still those before.
  MicroStep accumulate(const torch::Tensor& images, const torch::Tensor& targets, bool mesa);

  /// One optimizer update. Throws Error naming a parameter when a gradient is not finite.
  Update update();

  nn::SpatialMamba& model() { return model_; }
  const nn::SpatialMamba& model() const { return model_; }
  /// Null without EMA.
  nn::SpatialMamba& ema_model() { return ema_model_; }
  const nn::SpatialMamba& ema_model() const { return ema_model_; }
  AdamW& optimizer() { return optimizer_; }
  const AdamW& optimizer() const { return optimizer_; }
  const LearnerOptions& options() const { return options_; }
  /// Updates made so far.
  std::int64_t updates() const { return optimizer_.updates(); }

 private:
  torch::Tensor teach(const torch::Tensor& images);

  LearnerOptions options_;
  nn::SpatialMamba model_;
  nn::SpatialMamba ema_model_{nullptr};
  AdamW optimizer_;
};

/// A model of its own with the same architecture, options, element type and values.
nn::SpatialMamba copy_model(const nn::SpatialMambaImpl& model);

/// Turns parameters and floating-point buffers into float32 or float64.
void set_element_type(nn::SpatialMambaImpl& model, torch::ScalarType type);

/// Runs in evaluation mode without gradients and restores the mode.
torch::Tensor evaluate_logits(nn::SpatialMambaImpl& model, const torch::Tensor& images);

}  // namespace spatialmamba::train
