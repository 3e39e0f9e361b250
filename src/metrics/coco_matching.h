#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "metrics/coco.h"

namespace spatialmamba::metrics {

/// Thresholds of overlap, exactly as numpy.linspace(0.5, 0.95, 10) rounds them.
std::array<double, kCocoThresholds> coco_thresholds();

/// One detection of one category, compared with the objects of its image: a bit for each threshold.
struct CocoMatch {
  double score = 0.0;
  std::int64_t rank = 0;                               ///< among those of its image and category, from 0
  std::array<std::uint16_t, kCocoAreas> found = {};    ///< it is an object
  std::array<std::uint16_t, kCocoAreas> ignored = {};  ///< it counts neither way
};

/// All detections of a category, image by image and best first, and the number of objects to be found.
struct CocoCategoryMatches {
  std::vector<CocoMatch> matches;
  std::array<std::int64_t, kCocoAreas> objects = {};
  bool any = false;  ///< there is a detection or an object at all
};

/// What one image holds of one category.
struct CocoCell {
  std::vector<const CocoTruth*> truths;
  std::vector<const CocoDetection*> detections;
};

/// Appends the matches of one image: each detection, best first, takes the object that it overlaps most among
/// those that are left, one that counts before one that does not.
void match_cell(CocoCell cell, const CocoSettings& settings, CocoCategoryMatches& out);

}  // namespace spatialmamba::metrics
