#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/aligned_vector.h"
#include "kernels/partial_sums.h"

namespace spatialmamba::kernels {

/// Neighbouring pixels that a stencil works on together. The maps of a 224 x 224 image are 7 · 2^k wide.
inline constexpr int kStencilBlock = 7;

/// What lies beyond the border of an image: nothing, or its outermost pixels again.
enum class Border { zero, replicate };

/// Room for an image of one vector of channels, whose rows are padded left and right.
template <typename T>
class PackedPlane {
 public:
  PackedPlane(std::int64_t height, std::int64_t width, std::int64_t padding)
      : height_(height), width_(width), padding_(padding) {
    padded_width_ = (width + kStencilBlock - 1) / kStencilBlock * kStencilBlock + padding;
    constexpr std::int64_t kMostLanes = 64 / static_cast<std::int64_t>(sizeof(T));
    values_.resize(static_cast<std::size_t>(height * (padding + padded_width_) * kMostLanes));
  }

  std::int64_t height() const { return height_; }
  std::int64_t width() const { return width_; }
  std::int64_t padding() const { return padding_; }
  /// Pixels from the first of a row to the end of its padding.
  std::int64_t padded_width() const { return padded_width_; }

  /// The first pixel of a row, when a pixel has `lanes` channels.
  T* row(std::int64_t y, std::int64_t lanes) {
    return values_.data() + (y * (padding_ + padded_width_) + padding_) * lanes;
  }

 private:
  std::int64_t height_;
  std::int64_t width_;
  std::int64_t padding_;
  std::int64_t padded_width_;
  AlignedVector<T> values_;
};

/// The work of a stencil cut into blocks of channels of one image: two vectors of the widest instruction set,
/// i.e. two cache lines in single precision.
class ImageBlocks {
 public:
  ImageBlocks(std::int64_t images, std::int64_t channels)
      : images_(images), channels_(channels), blocks_((channels + kWidth - 1) / kWidth) {}

  std::int64_t count() const { return images_ * blocks_; }
  std::int64_t blocks() const { return blocks_; }
  std::int64_t image(std::int64_t i) const { return i / blocks_; }
  std::int64_t block(std::int64_t i) const { return i % blocks_; }
  RowRange channels(std::int64_t i) const {
    return {block(i) * kWidth, std::min((block(i) + 1) * kWidth, channels_)};
  }

 private:
  static constexpr std::int64_t kWidth = 32;

  std::int64_t images_;
  std::int64_t channels_;
  std::int64_t blocks_;
};

}  // namespace spatialmamba::kernels
