#pragma once

#include <torch/torch.h>

#include "nn/segmentor.h"

namespace spatialmamba::train {

/// Cross-entropy of class scores against labels of any size: scores (N, h, w, classes), labels (N, H, W)
/// int64 with 255 where nothing is known. The scores are resized to the labels; the sum is divided by the
/// number of all pixels, those without a label included, as mmsegmentation does.
struct PixelLoss {
  torch::Tensor loss;
  double accuracy = 0.0;  ///< right pixels among the labelled ones, in percent; 100 where there are none
};
PixelLoss pixel_loss(const torch::Tensor& scores, const torch::Tensor& labels);

/// The losses of both heads, and what is differentiated.
struct SegmentationLoss {
  torch::Tensor total;  ///< decode + weight * auxiliary
  double decode = 0.0;
  double decode_accuracy = 0.0;
  double auxiliary = 0.0;  ///< already weighted; 0 without an auxiliary head
  double auxiliary_accuracy = 0.0;
};
SegmentationLoss segmentation_loss(const nn::SegmentorMaps& maps, const torch::Tensor& labels,
                                   double auxiliary_weight);

}  // namespace spatialmamba::train
