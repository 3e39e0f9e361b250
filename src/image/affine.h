#pragma once

#include <array>
#include <cstdint>

#include "image/image.h"
#include "image/resize.h"

namespace spatialmamba::image {

/// Where an output pixel is taken from: pixel (x, y), whose centre is (x + 0.5, y + 0.5), shows the input at
/// (xx * cx + xy * cy + x0, yx * cx + yy * cy + y0) for that centre (cx, cy).
struct Affine {
  double xx = 1.0;
  double xy = 0.0;
  double x0 = 0.0;
  double yx = 0.0;
  double yy = 1.0;
  double y0 = 0.0;
};

/// Counter-clockwise by `degrees` about the picture's middle, with coefficients rounded as Pillow rounds
/// them.
Affine rotation(double degrees, int width, int height);

/// A picture of the same size, moved; what comes from outside is `fill` (grey pictures use its first value).
/// Bit for bit Pillow's `img.transform(img.size, AFFINE, ..., resample, fillcolor=fill)`: no antialiasing,
/// bicubic with a = -1, double arithmetic, values cut off (not rounded) to 8 bits. Bilinear and bicubic;
/// throws Error for another filter.
Image transform(const Image& picture, const Affine& affine, Filter filter,
                const std::array<std::uint8_t, 3>& fill);

}  // namespace spatialmamba::image
