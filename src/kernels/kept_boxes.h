#pragma once

#include <vector>

namespace spatialmamba::kernels {

struct Corners {
  float x1 = 0;
  float y1 = 0;
  float x2 = 0;
  float y2 = 0;

  float area() const { return (x2 - x1) * (y2 - y1); }
};

/// What non-maximum suppression keeps, coordinate by coordinate so that vectors can be compared with one box.
struct KeptBoxes {
  std::vector<float> x1, y1, x2, y2, area;

  void add(const Corners& box) {
    x1.push_back(box.x1);
    y1.push_back(box.y1);
    x2.push_back(box.x2);
    y2.push_back(box.y2);
    area.push_back(box.area());
  }
};

}  // namespace spatialmamba::kernels
