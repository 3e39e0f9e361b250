#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/isa.h"

namespace spatialmamba::kernels {

struct NmsOptions {
  float threshold = 0.5F;   ///< of the intersection over union: what lies strictly above is suppressed
  std::int64_t limit = -1;  ///< keep at most so many; -1: all
};

/// Greedy non-maximum suppression. boxes [n][4]: x1, y1, x2, y2, without +1; `groups` (empty: all the same)
/// says which boxes compete: boxes of another group never suppress each other. As the detection libraries do
/// it, a group's boxes are first moved by group · (largest coordinate + 1), in float32, which decides the
/// rounding. Returns the rows that are kept, best first; of equal scores the lower row comes first. Throws
/// Error for a score or a box that is not finite.
std::vector<std::int64_t> nms(std::span<const float> boxes, std::span<const float> scores,
                              std::span<const std::int64_t> groups, const NmsOptions& options, Isa isa);

}  // namespace spatialmamba::kernels
