#pragma once

#include <vector>

#include "base/random.h"
#include "image/image.h"

namespace spatialmamba::data {

/// The photographs that the program carries, in colour.
std::vector<image::Image> built_in_photographs();

/// A square to put things on: in one half of the cases a part of a photograph, in the other a drawn texture
/// (blend of two colours, stripes, checks, weave, clouds). Without photographs always a texture.
image::Image scene_background(int size, const std::vector<image::Image>& photographs, Random& random);

}  // namespace spatialmamba::data
