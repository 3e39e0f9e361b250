#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "kernels/isa.h"

namespace spatialmamba::kernels {

/// Class scores of N images and the labels of their pixels, which may be more (or fewer) than the scores.
template <typename T>
struct PixelScores {
  std::int64_t images = 0;
  std::int64_t height = 0;  ///< of the map of scores
  std::int64_t width = 0;
  std::int64_t classes = 0;
  const T* scores = nullptr;  ///< [N, height, width, classes], dense
  std::int64_t label_height = 0;
  std::int64_t label_width = 0;
  const std::int64_t* labels = nullptr;  ///< [N, label_height, label_width]: a class, or `unknown`
  std::int64_t unknown = 255;            ///< such pixels count for nothing
};

struct PixelCrossEntropy {
  double sum = 0.0;        ///< over the known pixels
  std::int64_t known = 0;  ///< pixels with a label
  std::int64_t right = 0;  ///< of them those whose label is the first class of the highest score
};

/// The sum of -log softmax(s)_label over all known pixels, where s are the scores resized to the labels'
/// height and width (bilinear, PyTorch's align_corners=False). Unless `gradient` [N, height, width, classes]
/// is nullptr, the sum's gradient by the scores is written to it. The resized map, which would be the largest
/// of a training step, exists one row at a time. Sums are made in an order that does not depend on the number
/// of threads.
template <typename T>
PixelCrossEntropy pixel_cross_entropy(const PixelScores<T>& input, T* gradient, Isa isa,
                                      const ParallelFor& parallel);

}  // namespace spatialmamba::kernels
