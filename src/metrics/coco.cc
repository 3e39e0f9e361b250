#include "metrics/coco.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "metrics/coco_matching.h"

namespace spatialmamba::metrics {
namespace {

constexpr std::int64_t kReportedLimit = 100;  ///< of the first statistic, whatever the limits are

/// numpy's sum of doubles, whose rounding decides the last digit of a mean: eight running sums in blocks of
/// at most 128, blocks added in pairs.
double pairwise_sum(std::span<const double> values) {
  constexpr std::size_t kBlock = 128;
  constexpr std::size_t kSums = 8;
  const std::size_t n = values.size();
  if (n < kSums) {
    double sum = 0.0;
    for (const double value : values) sum += value;
    return sum;
  }
  if (n > kBlock) {
    const std::size_t half = n / 2 / kSums * kSums;
    return pairwise_sum(values.first(half)) + pairwise_sum(values.subspan(half));
  }
  std::array<double, kSums> r{};
  std::copy_n(values.begin(), kSums, r.begin());
  std::size_t i = kSums;
  for (; i + kSums <= n; i += kSums) {
    for (std::size_t j = 0; j < kSums; ++j) r[j] += values[i + j];
  }
  double sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
  for (; i < n; ++i) sum += values[i];
  return sum;
}

/// The mean of what is there; -1 for nothing.
double mean_of(const std::vector<double>& values) {
  std::vector<double> there;
  std::ranges::copy_if(values, std::back_inserter(there), [](double value) { return value > -1.0; });
  return there.empty() ? -1.0 : pairwise_sum(there) / static_cast<double>(there.size());
}

/// Precision and recall over the detections of one category, best first.
struct Curve {
  std::vector<double> precision;
  std::vector<double> recall;
};

Curve trace_curve(const std::vector<const CocoMatch*>& sorted, std::size_t area, std::size_t threshold,
                  std::int64_t objects) {
  Curve curve;
  const auto bit = static_cast<std::uint16_t>(1U << threshold);
  double found = 0.0;
  double wrong = 0.0;
  for (const CocoMatch* match : sorted) {
    if ((match->ignored[area] & bit) == 0) ((match->found[area] & bit) != 0 ? found : wrong) += 1.0;
    curve.recall.push_back(found / static_cast<double>(objects));
    curve.precision.push_back(found / (wrong + found + std::numeric_limits<double>::epsilon()));
  }
  for (std::size_t i = curve.precision.size(); i-- > 1;) {
    curve.precision[i - 1] = std::max(curve.precision[i - 1], curve.precision[i]);
  }
  return curve;
}

/// Where things stand in the two tables of a result.
class Tables {
 public:
  explicit Tables(CocoResult& result) : result_(result), categories_(result.categories.size()) {
    const std::size_t cells = kCocoThresholds * categories_ * kCocoAreas * kCocoLimits;
    result.recall.assign(cells, -1.0);
    result.precision.assign(cells * kCocoRecalls, -1.0);
  }

  double& recall(std::size_t t, std::size_t k, std::size_t a, std::size_t m) {
    return result_.recall[((t * categories_ + k) * kCocoAreas + a) * kCocoLimits + m];
  }
  double& precision(std::size_t t, std::size_t r, std::size_t k, std::size_t a, std::size_t m) {
    return result_.precision[(((t * kCocoRecalls + r) * categories_ + k) * kCocoAreas + a) * kCocoLimits + m];
  }

  /// Mean over thresholds (or one), recalls and categories (or one), in the order of the table.
  double mean_precision(std::optional<std::size_t> threshold, std::optional<std::size_t> category,
                        std::size_t a, std::size_t m) {
    std::vector<double> values;
    for_range(threshold, kCocoThresholds, [&](std::size_t t) {
      for (std::size_t r = 0; r < kCocoRecalls; ++r) {
        for_range(category, categories_, [&](std::size_t k) { values.push_back(precision(t, r, k, a, m)); });
      }
    });
    return mean_of(values);
  }
  double mean_recall(std::size_t a, std::size_t m) {
    std::vector<double> values;
    for (std::size_t t = 0; t < kCocoThresholds; ++t) {
      for (std::size_t k = 0; k < categories_; ++k) values.push_back(recall(t, k, a, m));
    }
    return mean_of(values);
  }

 private:
  template <typename Body>
  static void for_range(std::optional<std::size_t> only, std::size_t n, const Body& body) {
    for (std::size_t i = only.value_or(0); i < (only ? *only + 1 : n); ++i) body(i);
  }

  CocoResult& result_;
  std::size_t categories_;
};

/// numpy.linspace(0, 1, 101).
double recall_level(std::size_t index) {
  return index + 1 == kCocoRecalls ? 1.0 : static_cast<double>(index) * (1.0 / (kCocoRecalls - 1));
}

/// Fills a category's part of the tables.
void accumulate(const CocoCategoryMatches& all, std::size_t category, const CocoSettings& settings,
                Tables& tables) {
  if (!all.any) return;
  std::vector<const CocoMatch*> sorted;
  for (const CocoMatch& match : all.matches) sorted.push_back(&match);
  std::ranges::stable_sort(sorted, std::greater{}, &CocoMatch::score);
  for (std::size_t m = kCocoLimits; m-- > 0;) {
    std::erase_if(sorted, [&](const CocoMatch* match) { return match->rank >= settings.max_detections[m]; });
    for (std::size_t a = 0; a < kCocoAreas; ++a) {
      if (all.objects[a] == 0) continue;
      for (std::size_t t = 0; t < kCocoThresholds; ++t) {
        const Curve curve = trace_curve(sorted, a, t, all.objects[a]);
        tables.recall(t, category, a, m) = curve.recall.empty() ? 0.0 : curve.recall.back();
        std::size_t at = 0;
        for (std::size_t r = 0; r < kCocoRecalls; ++r) {
          while (at < curve.recall.size() && curve.recall[at] < recall_level(r)) ++at;
          tables.precision(t, r, category, a, m) = at < curve.precision.size() ? curve.precision[at] : 0.0;
        }
      }
    }
  }
}

void summarise(CocoResult& result, const CocoSettings& settings, Tables& tables) {
  constexpr std::size_t kLast = kCocoLimits - 1;
  constexpr std::size_t kAt75 = 5;
  const auto reported = std::ranges::find(settings.max_detections, kReportedLimit);
  auto& stats = result.stats;
  stats[0] = reported == settings.max_detections.end()
                 ? -1.0
                 : tables.mean_precision(
                       {}, {}, 0, static_cast<std::size_t>(reported - settings.max_detections.begin()));
  stats[1] = tables.mean_precision(0, {}, 0, kLast);
  stats[2] = tables.mean_precision(kAt75, {}, 0, kLast);
  for (std::size_t a = 1; a < kCocoAreas; ++a) stats[2 + a] = tables.mean_precision({}, {}, a, kLast);
  for (std::size_t m = 0; m < kCocoLimits; ++m) stats[6 + m] = tables.mean_recall(0, m);
  for (std::size_t a = 1; a < kCocoAreas; ++a) stats[8 + a] = tables.mean_recall(a, kLast);
  for (std::size_t k = 0; k < result.categories.size(); ++k) {
    result.category_ap.push_back(tables.mean_precision({}, k, 0, kLast));
    result.category_ap50.push_back(tables.mean_precision(0, k, 0, kLast));
  }
}

std::vector<std::int64_t> sorted_distinct(std::vector<std::int64_t> values) {
  std::ranges::sort(values);
  values.erase(std::unique(values.begin(), values.end()), values.end());
  return values;
}

/// Items of each category (known ones of known images), by image and then in their order.
class Grouping {
 public:
  Grouping(const std::vector<std::int64_t>& images, const std::vector<std::int64_t>& categories)
      : images_(places(images)), categories_(places(categories)), count_(categories.size()) {}

  template <typename T>
  using Groups = std::vector<std::vector<std::pair<std::size_t, const T*>>>;

  template <typename T>
  Groups<T> group(std::span<const T> items) const {
    Groups<T> groups(count_);
    for (const T& item : items) {
      const auto image = images_.find(item.image);
      const auto category = categories_.find(item.category);
      if (image == images_.end() || category == categories_.end()) continue;
      groups[category->second].emplace_back(image->second, &item);
    }
    return groups;
  }

 private:
  static std::unordered_map<std::int64_t, std::size_t> places(const std::vector<std::int64_t>& values) {
    std::unordered_map<std::int64_t, std::size_t> index;
    for (std::size_t i = 0; i < values.size(); ++i) index.emplace(values[i], i);
    return index;
  }

  std::unordered_map<std::int64_t, std::size_t> images_;
  std::unordered_map<std::int64_t, std::size_t> categories_;
  std::size_t count_;
};

/// Walks two lists that are sorted by image, image by image.
CocoCategoryMatches match_category(std::vector<std::pair<std::size_t, const CocoTruth*>>& truths,
                                   std::vector<std::pair<std::size_t, const CocoDetection*>>& detections,
                                   const CocoSettings& settings) {
  const auto by_image = [](const auto& item) { return item.first; };
  std::ranges::stable_sort(truths, {}, by_image);
  std::ranges::stable_sort(detections, {}, by_image);
  CocoCategoryMatches matches;
  auto truth = truths.begin();
  auto detection = detections.begin();
  while (truth != truths.end() || detection != detections.end()) {
    const std::size_t image =
        std::min(truth == truths.end() ? std::numeric_limits<std::size_t>::max() : truth->first,
                 detection == detections.end() ? std::numeric_limits<std::size_t>::max() : detection->first);
    CocoCell cell;
    for (; truth != truths.end() && truth->first == image; ++truth) cell.truths.push_back(truth->second);
    for (; detection != detections.end() && detection->first == image; ++detection) {
      cell.detections.push_back(detection->second);
    }
    match_cell(std::move(cell), settings, matches);
  }
  return matches;
}

}  // namespace

std::string_view coco_stat_name(std::size_t index) {
  constexpr std::array<std::string_view, kCocoStats> kNames = {
      "AP", "AP50", "AP75", "AP_s", "AP_m", "AP_l", "AR_1", "AR_2", "AR_3", "AR_s", "AR_m", "AR_l"};
  return kNames.at(index);
}

CocoResult evaluate_coco(std::span<const CocoTruth> truths, std::span<const CocoDetection> detections,
                         std::vector<std::int64_t> images, std::vector<std::int64_t> categories,
                         const CocoSettings& settings, const ParallelFor& parallel) {
  for (const CocoDetection& detection : detections) {
    if (std::isnan(detection.score)) fail("a detection in image {} has no score", detection.image);
  }
  CocoResult result;
  result.categories = sorted_distinct(std::move(categories));
  const Grouping grouping(sorted_distinct(std::move(images)), result.categories);
  auto truth_groups = grouping.group(truths);
  auto detection_groups = grouping.group(detections);
  Tables tables(result);
  parallel(std::ssize(result.categories), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto k = static_cast<std::size_t>(begin); k < static_cast<std::size_t>(end); ++k) {
      accumulate(match_category(truth_groups[k], detection_groups[k], settings), k, settings, tables);
    }
  });
  summarise(result, settings, tables);
  return result;
}

}  // namespace spatialmamba::metrics
