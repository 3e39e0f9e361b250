#pragma once

#include <string>
#include <vector>

#include "image/image.h"
#include "metrics/classification.h"

namespace spatialmamba::draw {

/// The confusion matrix as a heat map: rows are true classes, columns predicted ones, colours the share of
/// the row, numbers the counts. Up to 40 classes carry names and numbers; larger matrices become one square
/// of a few pixels per cell. Throws Error when there are not as many names as classes.
image::Image draw_confusion(const metrics::ConfusionMatrix& matrix, const std::vector<std::string>& names,
                            const std::string& title);

}  // namespace spatialmamba::draw
