#pragma once

#include <string>
#include <vector>

#include "image/image.h"

namespace spatialmamba::draw {

/// One line of a chart. Points that are not finite leave a gap.
struct Series {
  std::string name;
  std::vector<double> x;
  std::vector<double> y;
};

struct Chart {
  std::string title;
  std::string x_label;
  std::vector<Series> series;
  bool percent = false;  ///< y holds shares, labelled 0 % to 100 %
};

/// Charts in a grid of `columns`, each with axes, ticks and a legend, on one picture under a title. A chart
/// without a finite point says that there is no data. Throws Error for series whose x and y differ in length.
image::Image draw_charts(const std::vector<Chart>& charts, const std::string& title, int columns = 2);

}  // namespace spatialmamba::draw
