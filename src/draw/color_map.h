#pragma once

#include "draw/canvas.h"

namespace spatialmamba::draw {

enum class ColorMap {
  viridis,  ///< perceptually even, dark violet to yellow
  blues,    ///< white to dark blue
};

/// The colour of a value in [0, 1] (clamped; NaN is grey).
Color color_of(double value, ColorMap map);

/// Black or white: what can be read on this colour.
Color readable_on(Color background);

}  // namespace spatialmamba::draw
