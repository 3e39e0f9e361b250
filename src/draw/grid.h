#pragma once

#include <optional>
#include <string>
#include <vector>

#include "image/image.h"

namespace spatialmamba::draw {

/// One picture with what it is and what it was taken for.
struct Tile {
  image::Image picture;
  std::string truth;
  std::string predicted;
  double confidence = 0.0;  ///< probability of `predicted`
};

/// Tiles row by row under a title; a wrong prediction is framed and written in red above what was true. Small
/// pictures are enlarged in crisp squares. Throws Error without tiles.
image::Image draw_grid(const std::vector<Tile>& tiles, const std::string& title, int columns = 8);

}  // namespace spatialmamba::draw
