#include "detection/select.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "base/error.h"
#include "kernels/mask_paste.h"
#include "kernels/nms.h"

namespace spatialmamba::detection {
namespace {

float logistic(float x) {
  return 1.0F / (1.0F + std::exp(-x));
}

/// Rows of the largest scores, best first; of equal ones the lower row.
std::vector<std::int64_t> best_rows(std::span<const float> scores, std::int64_t count) {
  std::vector<std::int64_t> rows(scores.size());
  std::iota(rows.begin(), rows.end(), 0);
  const auto better = [&](std::int64_t a, std::int64_t b) {
    const float first = scores[static_cast<std::size_t>(a)];
    const float second = scores[static_cast<std::size_t>(b)];
    return first != second ? first > second : a < b;
  };
  if (std::ssize(rows) > count) {
    std::ranges::nth_element(rows, rows.begin() + count, better);
    rows.resize(static_cast<std::size_t>(count));
  }
  std::ranges::sort(rows, better);
  return rows;
}

void require_numbers(std::span<const float> values, const char* what) {
  if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); })) {
    fail("the network's {} are not finite", what);
  }
}

/// One image's candidates from all levels.
struct Candidates {
  std::vector<Box> boxes;
  std::vector<float> scores;
  std::vector<std::int64_t> levels;
};

void add_level(const ProposalLevel& level, std::int64_t index, const Extent& image,
               const ProposalSettings& settings, Candidates& out) {
  std::vector<float> scores(level.scores.size());
  std::ranges::transform(level.scores, scores.begin(), logistic);
  for (const std::int64_t row : best_rows(scores, settings.per_level)) {
    const auto i = static_cast<std::size_t>(row);
    const Box box =
        clipped(BoxCoder{}.decode(level.anchors[i], level.deltas.subspan(4 * i).first<4>()), image);
    if (!(box.x2 > box.x1 && box.y2 > box.y1)) continue;
    out.boxes.push_back(box);
    out.scores.push_back(scores[i]);
    out.levels.push_back(index);
  }
}

/// exp(x) / sum exp(x) in place.
void softmax(std::span<float> values) {
  const float largest = *std::ranges::max_element(values);
  float sum = 0.0F;
  for (float& value : values) sum += value = std::exp(value - largest);
  for (float& value : values) value /= sum;
}

}  // namespace

Proposals propose(std::span<const ProposalLevel> levels, const Extent& image,
                  const ProposalSettings& settings, kernels::Isa isa) {
  Candidates all;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    require_numbers(levels[i].scores, "scores of boxes");
    require_numbers(levels[i].deltas, "shifts of boxes");
    add_level(levels[i], static_cast<std::int64_t>(i), image, settings, all);
  }
  Proposals proposals;
  const auto kept = kernels::nms(coordinates(all.boxes), all.scores, all.levels,
                                 {.threshold = settings.nms, .limit = settings.per_image}, isa);
  for (const std::int64_t row : kept) {
    proposals.boxes.push_back(all.boxes[static_cast<std::size_t>(row)]);
    proposals.scores.push_back(all.scores[static_cast<std::size_t>(row)]);
  }
  return proposals;
}

Detections detect(std::span<const Box> proposals, std::span<const float> logits,
                  std::span<const float> deltas, std::int64_t classes, const Extent& image,
                  const DetectionSettings& settings, kernels::Isa isa) {
  require_numbers(logits, "scores of classes");
  require_numbers(deltas, "shifts of boxes");
  const auto width = static_cast<std::size_t>(classes + 1);
  std::vector<Box> boxes;
  std::vector<float> scores;
  std::vector<std::int64_t> labels;
  std::vector<float> shares(width);
  for (std::size_t i = 0; i < proposals.size(); ++i) {
    std::ranges::copy(logits.subspan(i * width, width), shares.begin());
    softmax(shares);
    for (std::size_t c = 0; c + 1 < width; ++c) {
      if (!(shares[c] > settings.score)) continue;
      const auto shift = deltas.subspan(4 * (i * (width - 1) + c)).first<4>();
      boxes.push_back(clipped(kBoxHeadCoder.decode(proposals[i], shift), image));
      scores.push_back(shares[c]);
      labels.push_back(static_cast<std::int64_t>(c));
    }
  }
  const auto kept = kernels::nms(coordinates(boxes), scores, labels, {.threshold = settings.nms}, isa);
  Detections detections;
  detections.candidates = std::ssize(kept);
  for (const std::int64_t row : kept) {
    if (settings.per_image >= 0 && detections.size() == settings.per_image) break;
    const auto i = static_cast<std::size_t>(row);
    detections.boxes.push_back(boxes[i]);
    detections.scores.push_back(scores[i]);
    detections.labels.push_back(labels[i]);
  }
  return detections;
}

image::Rle outline(std::span<const float> logits, std::int64_t size, const Box& box, const Extent& picture,
                   float threshold, kernels::Isa isa) {
  std::vector<float> shares(logits.size());
  std::ranges::transform(logits, shares.begin(), logistic);
  const kernels::PastedMask pasted =
      kernels::paste_mask(shares, size, {box.x1, box.y1, box.x2, box.y2}, picture.height, picture.width, isa);
  std::vector<std::uint8_t> inside(pasted.values.size());
  std::ranges::transform(pasted.values, inside.begin(),
                         [&](float share) { return share >= threshold ? 1 : 0; });
  return image::encode_part(inside,
                            {static_cast<int>(pasted.left), static_cast<int>(pasted.top),
                             static_cast<int>(pasted.width), static_cast<int>(pasted.height)},
                            static_cast<std::uint32_t>(picture.height),
                            static_cast<std::uint32_t>(picture.width));
}

}  // namespace spatialmamba::detection
