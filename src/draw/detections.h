#pragma once

#include <string>
#include <vector>

#include "image/image.h"
#include "image/rle.h"

namespace spatialmamba::draw {

/// One object to be shown.
struct DetectedObject {
  image::XywhBox box;
  image::Rle mask;  ///< of the picture's size
  std::string name;
  double score = 0.0;
  std::size_t label = 0;  ///< decides the colour
};

/// The picture with boxes, tinted masks, names and scores; small pictures are enlarged. `note` (may be empty)
/// stands below.
image::Image draw_detections(const image::Image& picture, const std::vector<DetectedObject>& objects,
                             const std::string& note);

}  // namespace spatialmamba::draw
