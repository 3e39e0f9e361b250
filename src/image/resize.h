#pragma once

#include <string_view>

#include "image/image.h"

namespace spatialmamba::image {

/// Pillow's filters; bicubic has a = -0.5.
enum class Filter { bilinear, bicubic, lanczos };

std::string_view name_of(Filter filter);
/// Throws UsageError listing the known names.
Filter filter_from_name(std::string_view name);

/// Cuts `box` out and resizes it, bit for bit as Pillow's `img.crop(box).resize((width, height), filter)`:
/// the filter widens with the reduction (antialiased), coefficients are 22-bit fixed point, the horizontal
/// pass comes first (as in Pillow up to 12.2) and both passes round to 8 bits. Pixels outside the box play no
/// part. Throws Error when the box is empty or reaches outside, or the wanted size is not positive.
Image resize(const Image& picture, const Rect& box, int width, int height, Filter filter);

/// Only `part` of what that gives, at the cost of the part alone.
Image resize_part(const Image& picture, const Rect& box, int width, int height, const Rect& part,
                  Filter filter);

inline Image resize(const Image& picture, int width, int height, Filter filter) {
  return resize(picture, bounds(picture), width, height, filter);
}

}  // namespace spatialmamba::image
