#include "train/segmentation_loss.h"

#include "nn/functions/pixel_cross_entropy.h"

namespace spatialmamba::train {
namespace {

constexpr std::int64_t kUnknown = 255;

}  // namespace

PixelLoss pixel_loss(const torch::Tensor& scores, const torch::Tensor& labels) {
  const nn::PixelCrossEntropy entropy = nn::pixel_cross_entropy(scores, labels, kUnknown);
  const double right = static_cast<double>(entropy.right) / static_cast<double>(entropy.known);
  return {entropy.sum / static_cast<double>(labels.numel()), entropy.known == 0 ? 100.0 : 100.0 * right};
}

SegmentationLoss segmentation_loss(const nn::SegmentorMaps& maps, const torch::Tensor& labels,
                                   double auxiliary_weight) {
  const PixelLoss decode = pixel_loss(maps.decode.logits, labels);
  SegmentationLoss result{
      .total = decode.loss, .decode = decode.loss.item<double>(), .decode_accuracy = decode.accuracy};
  if (maps.auxiliary.defined()) {
    const PixelLoss auxiliary = pixel_loss(maps.auxiliary, labels);
    const torch::Tensor weighted = auxiliary_weight * auxiliary.loss;
    result.total = result.total + weighted;
    result.auxiliary = weighted.item<double>();
    result.auxiliary_accuracy = auxiliary.accuracy;
  }
  return result;
}

}  // namespace spatialmamba::train
