#pragma once

#include <cstddef>
#include <span>

#include "image/image.h"

namespace spatialmamba::image {

/// The EXIF orientation (1 to 8) that a JPEG or PNG file states; 1 (upright) when it states none or the block
/// is malformed: an orientation is a hint, never a reason to refuse a picture.
int exif_orientation(std::span<const std::byte> file);

/// Undoes an orientation: the picture as it is meant to be seen.
Image upright(Image picture, int orientation);

}  // namespace spatialmamba::image
