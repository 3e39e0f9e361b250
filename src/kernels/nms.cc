#include "kernels/nms.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_map>

#include "base/error.h"
#include "kernels/kept_boxes.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/nms.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/dispatch.h"

HWY_BEFORE_NAMESPACE();
namespace spatialmamba::kernels::HWY_NAMESPACE {
namespace {
namespace hn = hwy::HWY_NAMESPACE;

/// True when some of the kept boxes [i, i + lanes) overlaps `box` by more than the threshold. This source is
/// compiled without contraction of products and sums: their rounding decides ties.
template <class D>
HWY_INLINE bool any_overlaps(D d, const KeptBoxes& kept, std::size_t i, const Corners& box, float threshold) {
  const auto zero = hn::Zero(d);
  const auto left = hn::Max(hn::LoadU(d, kept.x1.data() + i), hn::Set(d, box.x1));
  const auto right = hn::Min(hn::LoadU(d, kept.x2.data() + i), hn::Set(d, box.x2));
  const auto top = hn::Max(hn::LoadU(d, kept.y1.data() + i), hn::Set(d, box.y1));
  const auto bottom = hn::Min(hn::LoadU(d, kept.y2.data() + i), hn::Set(d, box.y2));
  const auto both = hn::Mul(hn::Max(zero, hn::Sub(right, left)), hn::Max(zero, hn::Sub(bottom, top)));
  if (hn::AllTrue(d, hn::Le(both, zero))) return false;
  const auto either = hn::Sub(hn::Add(hn::LoadU(d, kept.area.data() + i), hn::Set(d, box.area())), both);
  return !hn::AllFalse(d, hn::Gt(hn::Div(both, either), hn::Set(d, threshold)));
}

bool is_suppressed(const KeptBoxes& kept, const Corners& box, float threshold) {
  const hn::ScalableTag<float> d;
  const std::size_t lanes = hn::Lanes(d);
  std::size_t i = 0;
  for (; i + lanes <= kept.x1.size(); i += lanes) {
    if (any_overlaps(d, kept, i, box, threshold)) return true;
  }
  const hn::CappedTag<float, 1> single;
  for (; i < kept.x1.size(); ++i) {
    if (any_overlaps(single, kept, i, box, threshold)) return true;
  }
  return false;
}

}  // namespace
}  // namespace spatialmamba::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace spatialmamba::kernels {
namespace {

void check(std::span<const float> boxes, std::span<const float> scores,
           std::span<const std::int64_t> groups) {
  if (boxes.size() != 4 * scores.size() || (!groups.empty() && groups.size() != scores.size())) {
    fail("{} coordinates, {} scores and {} groups do not belong together", boxes.size(), scores.size(),
         groups.size());
  }
  const auto finite = [](float value) { return std::isfinite(value); };
  if (!std::ranges::all_of(scores, finite)) fail("a score is not finite");
  if (!std::ranges::all_of(boxes, finite)) fail("a box is not finite");
}

std::vector<std::int64_t> best_first(std::span<const float> scores) {
  std::vector<std::int64_t> order(scores.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::stable_sort(order, std::greater{},
                           [&](std::int64_t i) { return scores[static_cast<std::size_t>(i)]; });
  return order;
}

}  // namespace

std::vector<std::int64_t> nms(std::span<const float> boxes, std::span<const float> scores,
                              std::span<const std::int64_t> groups, const NmsOptions& options, Isa isa) {
  check(boxes, scores, groups);
  if (scores.empty()) return {};
  const auto suppressed = SPATIALMAMBA_CHOOSE(isa, is_suppressed);
  const auto [lowest, highest] = std::ranges::minmax(boxes);
  const float stride = groups.empty() ? 0.0F : highest + 1.0F;
  // Moved boxes of two groups can only meet where coordinates are negative; then all are compared with all.
  const bool apart = lowest >= 0.0F;
  std::unordered_map<std::int64_t, KeptBoxes> kept_of;
  std::vector<std::int64_t> kept;
  for (const std::int64_t row : best_first(scores)) {
    if (options.limit >= 0 && std::ssize(kept) >= options.limit) break;
    const auto i = static_cast<std::size_t>(row);
    const std::int64_t group = groups.empty() ? 0 : groups[i];
    const float offset = static_cast<float>(group) * stride;
    const Corners box{boxes[4 * i] + offset, boxes[4 * i + 1] + offset, boxes[4 * i + 2] + offset,
                      boxes[4 * i + 3] + offset};
    KeptBoxes& rivals = kept_of[apart ? group : 0];
    if (suppressed(rivals, box, options.threshold)) continue;
    rivals.add(box);
    kept.push_back(row);
  }
  return kept;
}

}  // namespace spatialmamba::kernels
#endif
