#include "detection/assign.h"

#include <algorithm>
#include <limits>

namespace spatialmamba::detection {
namespace {

bool inside_ignored(const Assigner& assigner, const Box& box, std::span<const Box> ignored) {
  return assigner.ignore_overlap > 0 && std::ranges::any_of(ignored, [&](const Box& region) {
           return overlap_of_first(box, region) > assigner.ignore_overlap;
         });
}

/// `count` of the values, in their order.
void thin_out(std::vector<std::int64_t>& values, std::int64_t count, Random& random) {
  if (std::ssize(values) <= count) return;
  random.shuffle(std::span(values));
  values.resize(static_cast<std::size_t>(count));
  std::ranges::sort(values);
}

}  // namespace

Assignment assign(const Assigner& assigner, std::span<const Box> boxes, std::span<const Box> objects,
                  std::span<const Box> ignored) {
  Assignment result{std::vector<std::int64_t>(boxes.size(), Assignment::kBackground),
                    std::vector<float>(boxes.size(), 0.0F)};
  if (objects.empty()) return result;
  std::vector<float> table(boxes.size() * objects.size());  // [box][object]
  std::vector<float> best_of(objects.size(), -std::numeric_limits<float>::infinity());
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const bool excluded = inside_ignored(assigner, boxes[i], ignored);
    float* row = table.data() + i * objects.size();
    for (std::size_t k = 0; k < objects.size(); ++k) {
      row[k] = excluded ? -1.0F : iou(objects[k], boxes[i]);
      best_of[k] = std::max(best_of[k], row[k]);
    }
    const float* best = std::max_element(row, row + objects.size());
    result.overlaps[i] = *best;
    std::int64_t& object = result.objects[i];
    object = Assignment::kIgnored;
    if (*best >= 0 && *best < assigner.negative) object = Assignment::kBackground;
    if (*best >= assigner.positive) object = 1 + (best - row);
  }
  if (!assigner.keep_best) return result;
  for (std::size_t k = 0; k < objects.size(); ++k) {
    if (best_of[k] < assigner.least) continue;
    for (std::size_t i = 0; i < boxes.size(); ++i) {
      if (table[i * objects.size() + k] == best_of[k]) result.objects[i] = static_cast<std::int64_t>(k) + 1;
    }
  }
  return result;
}

Sample draw_sample(const Sampler& sampler, const Assignment& assignment, Random& random) {
  Sample sample;
  for (std::size_t i = 0; i < assignment.objects.size(); ++i) {
    if (assignment.objects[i] > Assignment::kBackground)
      sample.positive.push_back(static_cast<std::int64_t>(i));
    if (assignment.objects[i] == Assignment::kBackground)
      sample.negative.push_back(static_cast<std::int64_t>(i));
  }
  thin_out(sample.positive,
           static_cast<std::int64_t>(static_cast<double>(sampler.count) * sampler.positive_share), random);
  thin_out(sample.negative, sampler.count - std::ssize(sample.positive), random);
  return sample;
}

}  // namespace spatialmamba::detection
