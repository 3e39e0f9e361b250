#include "metrics/coco_matching.h"

#include <algorithm>

namespace spatialmamba::metrics {
namespace {

/// COCO's ranges of area, both ends included.
constexpr std::array<std::pair<double, double>, kCocoAreas> kAreas = {
    {{0.0, 1e10}, {0.0, 32.0 * 32.0}, {32.0 * 32.0, 96.0 * 96.0}, {96.0 * 96.0, 1e10}}};

bool outside(double area, std::size_t range) {
  return area < kAreas[range].first || area > kAreas[range].second;
}

/// A detection and an object that overlap enough for the lowest threshold.
struct Candidate {
  std::size_t truth = 0;
  double overlap = 0.0;
};

std::vector<image::XywhBox> mask_boxes(const CocoCell& cell) {
  std::vector<image::XywhBox> boxes;
  for (const CocoTruth* truth : cell.truths) boxes.push_back(image::bounding_box(truth->mask));
  return boxes;
}

/// Candidates of each detection, objects in their stored order.
std::vector<std::vector<Candidate>> candidates_of(const CocoCell& cell, Overlap kind, double lowest) {
  std::vector<std::vector<Candidate>> candidates(cell.detections.size());
  const std::vector<image::XywhBox> boxes =
      kind == Overlap::mask ? mask_boxes(cell) : std::vector<image::XywhBox>{};
  for (std::size_t d = 0; d < cell.detections.size(); ++d) {
    const CocoDetection& detection = *cell.detections[d];
    const bool masks = kind == Overlap::mask && !cell.truths.empty();
    const image::XywhBox box = masks ? image::bounding_box(detection.mask) : detection.box;
    for (std::size_t g = 0; g < cell.truths.size(); ++g) {
      const CocoTruth& truth = *cell.truths[g];
      double overlap = image::box_iou(box, masks ? boxes[g] : truth.box, truth.crowd);
      if (masks && overlap > 0.0) overlap = image::mask_iou(detection.mask, truth.mask, truth.crowd);
      if (overlap >= lowest) candidates[d].push_back({g, overlap});
    }
  }
  return candidates;
}

/// The matching for one range of areas and one threshold.
class Matcher {
 public:
  Matcher(const CocoCell& cell, std::size_t range)
      : cell_(cell), range_(range), ignored_(cell.truths.size()) {
    for (std::size_t g = 0; g < ignored_.size(); ++g) {
      ignored_[g] = cell.truths[g]->crowd || outside(cell.truths[g]->area, range);
    }
  }

  std::int64_t objects() const { return std::ranges::count(ignored_, false); }

  void run(const std::vector<std::vector<Candidate>>& candidates, double threshold, std::uint16_t bit,
           std::span<CocoMatch> matches) {
    taken_.assign(ignored_.size(), false);
    for (std::size_t d = 0; d < candidates.size(); ++d) {
      const Candidate* best = choose(candidates[d], std::min(threshold, 1.0 - 1e-10));
      bool found = false;
      bool ignored = false;
      if (best != nullptr) {
        taken_[best->truth] = true;
        ignored = ignored_[best->truth];
        found = cell_.truths[best->truth]->id != 0;  // pycocotools marks what was found with the object's id
      }
      if (!found && outside(cell_.detections[d]->area, range_)) ignored = true;
      if (found) matches[d].found[range_] |= bit;
      if (ignored) matches[d].ignored[range_] |= bit;
    }
  }

 private:
  /// Those that count come first; of equal overlaps the last one wins.
  const Candidate* choose(const std::vector<Candidate>& candidates, double threshold) const {
    const Candidate* best = nullptr;
    for (const bool ignored : {false, true}) {
      if (best != nullptr) break;
      double least = threshold;
      for (const Candidate& candidate : candidates) {
        const std::size_t g = candidate.truth;
        if (ignored_[g] != ignored || (taken_[g] && !cell_.truths[g]->crowd) || candidate.overlap < least)
          continue;
        least = candidate.overlap;
        best = &candidate;
      }
    }
    return best;
  }

  const CocoCell& cell_;
  std::size_t range_;
  std::vector<bool> ignored_;
  std::vector<bool> taken_;
};

}  // namespace

std::array<double, kCocoThresholds> coco_thresholds() {
  constexpr double kFirst = 0.5;
  constexpr double kLast = 0.95;
  constexpr double kStep = (kLast - kFirst) / (kCocoThresholds - 1);
  std::array<double, kCocoThresholds> thresholds{};
  for (std::size_t i = 0; i < kCocoThresholds; ++i) {
    thresholds[i] = static_cast<double>(i) * kStep + kFirst;
  }
  thresholds.back() = kLast;
  return thresholds;
}

void match_cell(CocoCell cell, const CocoSettings& settings, CocoCategoryMatches& out) {
  if (cell.truths.empty() && cell.detections.empty()) return;
  out.any = true;
  std::ranges::stable_sort(cell.detections, std::greater{}, &CocoDetection::score);
  const auto limit = static_cast<std::size_t>(settings.max_detections.back());
  if (cell.detections.size() > limit) cell.detections.resize(limit);

  const std::size_t first = out.matches.size();
  for (const CocoDetection* detection : cell.detections) {
    out.matches.push_back(
        {.score = detection->score, .rank = static_cast<std::int64_t>(out.matches.size() - first)});
  }
  const std::span<CocoMatch> matches = std::span(out.matches).subspan(first);
  const std::array<double, kCocoThresholds> thresholds = coco_thresholds();
  const auto candidates = candidates_of(cell, settings.overlap, thresholds.front());
  for (std::size_t range = 0; range < kCocoAreas; ++range) {
    Matcher matcher(cell, range);
    out.objects[range] += matcher.objects();
    for (std::size_t t = 0; t < kCocoThresholds; ++t) {
      matcher.run(candidates, thresholds[t], static_cast<std::uint16_t>(1U << t), matches);
    }
  }
}

}  // namespace spatialmamba::metrics
