#include "train/segmentation_loss.h"

#include <algorithm>
#include <span>

#include "nn/functions/maps.h"
#include "nn/functions/node.h"

namespace spatialmamba::train {
namespace {

constexpr std::int64_t kUnknown = 255;

/// One pass over the scores: argmax() over a short last dimension takes longer than the loss itself.
double percent_right(const torch::Tensor& scores, const torch::Tensor& labels) {
  const torch::Tensor rows = scores.detach().contiguous();
  const std::span<const std::int64_t> truth(labels.const_data_ptr<std::int64_t>(),
                                            static_cast<std::size_t>(labels.numel()));
  const std::int64_t classes = rows.size(1);
  std::int64_t known = 0;
  std::int64_t right = 0;
  nn::with_type(rows, [&]<typename T>(T) {
    const T* row = rows.const_data_ptr<T>();
    for (const std::int64_t label : truth) {
      if (label != kUnknown) {
        ++known;
        if (std::max_element(row, row + classes) - row == label) ++right;
      }
      row += classes;
    }
  });
  return known == 0 ? 100.0 : 100.0 * static_cast<double>(right) / static_cast<double>(known);
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
