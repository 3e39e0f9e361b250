#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "image/codec.h"
#include "image/image.h"

namespace spatialmamba::draw {

/// What the numbers of a label map are called and which colour they are shown in.
struct LabelStyle {
  const std::vector<std::string>& names;
  const std::vector<image::Rgb>& palette;
};

/// The picture half covered by the colours (grey where the label is no class), with a legend of the classes
/// it holds, the largest first; huge pictures are drawn smaller. `note` (may be empty) stands under the
/// legend. Throws Error when the two differ in size.
image::Image draw_overlay(const image::Image& picture, const image::Image& labels, const LabelStyle& style,
                          const std::string& note);

/// The picture, the prediction over it and the truth over it side by side, with one legend.
image::Image draw_comparison(const image::Image& picture, const image::Image& predicted,
                             const image::Image& truth, const LabelStyle& style, const std::string& title);

}  // namespace spatialmamba::draw
