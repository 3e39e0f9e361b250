#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "engine/executor.h"
#include "engine/map.h"
#include "engine/network.h"
#include "spatialmamba/detector.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::engine {

/// Mask R-CNN (He et al., 2017) with a feature pyramid as mmdetection states it, in two halves: between them
/// somebody chooses boxes.

/// The first half's result.
struct DetectorMaps {
  std::array<Map, kPyramidLevels> pyramid;
  std::array<Map, kPyramidLevels> scores;  ///< of the region proposal network, kAnchorShapes channels
  std::array<Map, kPyramidLevels> deltas;  ///< 4 channels per shape
};

/// Floats of memory that detector_maps() leaves its result in and works in.
std::int64_t detector_memory(const MaskRcnn& detector, const Features& features);
DetectorMaps detector_maps(const MaskRcnn& detector, const Features& features, float* memory,
                           const Executor& run, const Observer& observe);

/// Floats of memory that the second half works in, however many boxes there are.
std::int64_t region_memory(const MaskRcnn& detector);

/// The box head: scores [n][classes + 1], deltas [n][classes][4].
void classify_regions(const MaskRcnn& detector, const DetectorMaps& maps, std::span<const Region> regions,
                      float* memory, const Executor& run, float* scores, float* deltas);

/// The mask head: logits [n][28][28] of each box's own class.
void outline_regions(const MaskRcnn& detector, const DetectorMaps& maps, std::span<const Region> regions,
                     std::span<const std::int64_t> labels, float* memory, const Executor& run, float* logits);

}  // namespace spatialmamba::engine
