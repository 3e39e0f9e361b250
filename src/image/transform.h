#pragma once

#include <array>
#include <span>
#include <vector>

#include "image/image.h"
#include "image/resize.h"

namespace spatialmamba::image {

/// What a network wants to see: size, channels and normalisation. Defaults: ImageNet.
struct InputFormat {
  int height = 224;
  int width = 224;
  /// 1 or 3; grey uses the first entries of mean and std.
  int channels = 3;
  std::array<float, 3> mean = {0.485F, 0.456F, 0.406F};
  std::array<float, 3> std = {0.229F, 0.224F, 0.225F};

  /// Floats of one sample.
  std::size_t values() const {
    return static_cast<std::size_t>(height) * static_cast<std::size_t>(width) *
           static_cast<std::size_t>(channels);
  }
};

/// Throws UsageError for sizes, channels or deviations that cannot be.
void validate(const InputFormat& format);

/// The reference's evaluation transform: resize so that the centre crop keeps the part `crop` of the short
/// edge (short edge int(size / crop): 256 for 224), crop the centre, normalise.
struct EvalTransform {
  InputFormat format;
  double crop = 0.875;
  Filter filter = Filter::bicubic;
};

/// The 8-bit picture that the network is shown: resized and cropped, format.channels channels.
Image eval_crop(const Image& picture, const EvalTransform& transform);

/// (value / 255 - mean) / std in float32 into `out` (format.values() floats, HWC). The picture has the
/// format's size and channels; throws Error otherwise.
void normalize(const Image& picture, const InputFormat& format, std::span<float> out);

/// eval_crop(), then normalize(): one sample in HWC.
std::vector<float> eval_input(const Image& picture, const EvalTransform& transform);

}  // namespace spatialmamba::image
