#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/random.h"
#include "detection/boxes.h"

namespace spatialmamba::detection {

/// What a box is taken for in training, as mmdetection's MaxIoUAssigner decides.
struct Assigner {
  float positive = 0.7F;      ///< overlaps of at least this much: that object
  float negative = 0.3F;      ///< below: background; in between: neither
  float least = 0.3F;         ///< the boxes that overlap an object most are that object from here on
  bool keep_best = true;      ///< apply that rule
  float ignore_overlap = -1;  ///< a box with a larger share inside an ignored region is neither; <= 0: off
};

struct Assignment {
  static constexpr std::int64_t kIgnored = -1;
  static constexpr std::int64_t kBackground = 0;
  std::vector<std::int64_t> objects;  ///< of each box: kIgnored, kBackground, or 1 + the index of its object
  std::vector<float> overlaps;        ///< with the object that it overlaps most
};

Assignment assign(const Assigner& assigner, std::span<const Box> boxes, std::span<const Box> objects,
                  std::span<const Box> ignored);

/// Rows of the boxes that a loss is computed on, ascending.
struct Sample {
  std::vector<std::int64_t> positive;
  std::vector<std::int64_t> negative;
};

struct Sampler {
  std::int64_t count = 256;
  double positive_share = 0.5;  ///< at most
};

/// At most `count` boxes at random, as mmdetection's RandomSampler: positives first, the rest background.
Sample draw_sample(const Sampler& sampler, const Assignment& assignment, Random& random);

}  // namespace spatialmamba::detection
