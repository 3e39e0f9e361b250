#pragma once

#include <torch/torch.h>

#include "data/loader.h"
#include "data/mixup.h"

namespace spatialmamba::train {

/// What one micro-batch is trained on.
struct TrainBatch {
  torch::Tensor images;   ///< (N, C, H, W), channels last in memory
  torch::Tensor targets;  ///< (N, classes)
};

/// Mixes a loaded batch and makes its soft targets, all in `type` (float32 or float64): the images are
/// normalised in float32, then widened. On a GPU images are mixed there, and the CPU does not wait for it.
TrainBatch mix_batch(const data::Batch& batch, const data::Mixture& mixture, std::int64_t classes,
                     double smoothing, torch::ScalarType type,
                     const torch::Device& device = torch::Device(torch::kCPU));

/// data::mix_images() made of LibTorch's operators: images (N, H, W, C) on any device, in place.
void mix_images(torch::Tensor& images, const data::Mixture& mixture);

/// The images alone, unmixed. They share the batch's storage where the type is float32.
torch::Tensor batch_images(data::Batch& batch, torch::ScalarType type);

}  // namespace spatialmamba::train
