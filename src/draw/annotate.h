#pragma once

#include <string>
#include <vector>

#include "image/image.h"

namespace spatialmamba::draw {

struct Guess {
  std::string name;
  double probability = 0.0;
};

/// The picture with its best guesses as bars below it. `note` (may be empty) stands under them.
image::Image annotate(const image::Image& picture, const std::vector<Guess>& guesses,
                      const std::string& title, const std::string& note);

}  // namespace spatialmamba::draw
