#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "image/image.h"

namespace spatialmamba::draw {

/// A map of numbers, row-major.
struct HeatMap {
  std::string title;
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::vector<float> values;
  bool write_values = false;  ///< the numbers themselves in the squares (for small maps)
};

/// Maps that are compared with each other, and what they are called together.
struct HeatMapRow {
  std::string title;
  std::vector<HeatMap> maps;
};

/// Rows of maps, each map in crisp squares of a perceptually even colour map that spans its own values; the
/// smallest and largest value stand below it. `picture`, where it is not empty, comes first in every row.
/// Throws Error for a map whose values do not match its size.
image::Image draw_heat_maps(const std::vector<HeatMapRow>& rows, const std::string& title,
                            const std::string& subtitle, const image::Image& picture = {});

}  // namespace spatialmamba::draw
