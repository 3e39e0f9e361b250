#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/parallel.h"
#include "image/rle.h"

namespace spatialmamba::metrics {

/// An object that is there.
struct CocoTruth {
  std::int64_t id = 0;
  std::int64_t image = 0;
  std::int64_t category = 0;
  image::XywhBox box = {};
  double area = 0.0;
  bool crowd = false;
  image::Rle mask = {};  ///< for Overlap::mask
};

/// An object that was found.
struct CocoDetection {
  std::int64_t image = 0;
  std::int64_t category = 0;
  image::XywhBox box = {};
  double area = 0.0;
  double score = 0.0;
  image::Rle mask = {};
};

enum class Overlap { box, mask };

struct CocoSettings {
  Overlap overlap = Overlap::box;
  /// Detections per image and category that count, ascending. COCO's own; mmdetection reports 100, 300, 1000.
  std::array<std::int64_t, 3> max_detections = {1, 10, 100};
};

inline constexpr std::size_t kCocoThresholds = 10;  ///< of overlap: 0.50, 0.55, ..., 0.95
inline constexpr std::size_t kCocoRecalls = 101;    ///< 0, 0.01, ..., 1
inline constexpr std::size_t kCocoAreas = 4;        ///< all, small (up to 32²), medium, large (from 96²)
inline constexpr std::size_t kCocoLimits = 3;       ///< of detections
inline constexpr std::size_t kCocoStats = 12;

/// "AP", "AP50", "AP75", "AP_s", "AP_m", "AP_l", then average recalls: at the three limits, and by area.
std::string_view coco_stat_name(std::size_t index);

/// COCO's average precision and recall, in the values (to the last bit, but for the mean of a sum's rounding)
/// and with the peculiarities of pycocotools: -1 where there is nothing to find, AP always at 100 detections,
/// and an object with id 0 cannot be found.
struct CocoResult {
  std::vector<std::int64_t> categories;  ///< ascending
  std::vector<double> precision;         ///< [thresholds][recalls][categories][areas][limits]
  std::vector<double> recall;            ///< [thresholds][categories][areas][limits]
  std::array<double, kCocoStats> stats{};
  std::vector<double> category_ap;    ///< of all areas at the highest limit
  std::vector<double> category_ap50;  ///< the same at threshold 0.5
};

/// Compares detections with objects. Those of other images or categories play no part. Categories are spread
/// over `parallel`; the result does not depend on it. Throws Error for a score that is not a number.
CocoResult evaluate_coco(std::span<const CocoTruth> truths, std::span<const CocoDetection> detections,
                         std::vector<std::int64_t> images, std::vector<std::int64_t> categories,
                         const CocoSettings& settings, const ParallelFor& parallel = {});

}  // namespace spatialmamba::metrics
