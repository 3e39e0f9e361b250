#include "train/segmentation_loss.h"

#include "nn/functions/maps.h"

namespace spatialmamba::train {
namespace {

constexpr std::int64_t kUnknown = 255;

double percent_right(const torch::Tensor& scores, const torch::Tensor& labels) {
  const torch::NoGradGuard no_grad;
  const torch::Tensor known = labels != kUnknown;
  const double count = known.sum().item<double>();
  if (count == 0.0) return 100.0;
  return 100.0 * ((scores.argmax(1) == labels) & known).sum().item<double>() / count;
}

}  // namespace

PixelLoss pixel_loss(const torch::Tensor& scores, const torch::Tensor& labels) {
  const torch::Tensor resized = nn::resize_map(scores, labels.size(1), labels.size(2));
  const torch::Tensor rows = resized.reshape({-1, resized.size(3)});
  const torch::Tensor targets = labels.flatten();
  const torch::Tensor sum = at::cross_entropy_loss(rows, targets, {}, at::Reduction::Sum, kUnknown);
  return {sum / static_cast<double>(targets.numel()), percent_right(rows, targets)};
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
