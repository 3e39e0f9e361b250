#pragma once

#include <cstdint>

#include "base/parallel.h"
#include "engine/tasks.h"
#include "kernels/packed_linear.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::engine {

/// What a dense 3x3 convolution with zero padding 1 reads: x [N, H, W, C], dense, C even.
struct ConvInput {
  const float* x;
  std::int64_t images;
  std::int64_t height;
  std::int64_t width;
  std::int64_t channels;
  std::int64_t stride;

  std::int64_t out_height() const { return divide_up(height, stride); }
  std::int64_t out_width() const { return divide_up(width, stride); }
  std::int64_t pixels() const { return images * out_height() * out_width(); }  ///< of the output
  std::int64_t size() const { return images * height * width * channels; }
};

/// Packs the patches [3][3][C] around some pixels of the output, counted over all images, as rows of the
/// layer's inputs: straight from the images, no matrix of patches is ever formed.
void pack_patches(const kernels::PackedLinear& layer, const ConvInput& input, RowRange pixels,
                  kernels::PackedRows packed);

/// The images as [N, H, W, C], C padded with zeros to stem_padded(channels).
void copy_images(const ImageBatch& images, std::int64_t channels, float* to, const ParallelFor& parallel);

}  // namespace spatialmamba::engine
