#include "detector/run.h"

#include "base/error.h"

namespace spatialmamba::detection {
namespace {

template <typename T>
std::span<const T> part_of(std::span<const T> values, std::size_t index, std::size_t count) {
  return values.subspan(index * count, count);
}

/// What the box head says about the proposals of all images -> detections of each.
std::vector<NetworkAnswer> choose(Session& session, const std::vector<Proposals>& proposals,
                                  std::span<const Extent> extents, const DetectionSettings& settings,
                                  kernels::Isa isa) {
  std::vector<Region> regions;
  for (std::size_t i = 0; i < proposals.size(); ++i) {
    const auto own = regions_of(proposals[i].boxes, static_cast<std::int64_t>(i));
    regions.insert(regions.end(), own.begin(), own.end());
  }
  const RegionAnswers said = session.classify(regions);
  const std::int64_t classes = session.model().num_classes();
  const auto width = static_cast<std::size_t>(classes);
  std::vector<NetworkAnswer> answers;
  std::size_t first = 0;
  for (std::size_t i = 0; i < proposals.size(); ++i) {
    const std::size_t n = proposals[i].boxes.size();
    answers.push_back(
        {detect(proposals[i].boxes, said.scores.subspan(first * (width + 1), n * (width + 1)),
                said.deltas.subspan(first * 4 * width, n * 4 * width), classes, extents[i], settings, isa),
         {},
         static_cast<std::int64_t>(n)});
    first += n;
  }
  return answers;
}

void add_masks(Session& session, std::vector<NetworkAnswer>& answers) {
  std::vector<Region> regions;
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    const auto own = regions_of(answers[i].found.boxes, static_cast<std::int64_t>(i));
    regions.insert(regions.end(), own.begin(), own.end());
    labels.insert(labels.end(), answers[i].found.labels.begin(), answers[i].found.labels.end());
  }
  std::span<const float> masks = session.outline(regions, labels);
  for (NetworkAnswer& answer : answers) {
    const std::size_t values = answer.found.boxes.size() * kMaskSize * kMaskSize;
    answer.masks.assign(masks.begin(), masks.begin() + static_cast<std::ptrdiff_t>(values));
    masks = masks.subspan(values);
  }
}

}  // namespace

std::vector<Proposals> propose(const RegionMaps& maps, std::span<const Extent> images,
                               const ProposalSettings& settings, kernels::Isa isa) {
  const AnchorGenerator generator;
  std::vector<std::vector<Box>> anchors;
  for (const RegionMaps::Level& level : maps.levels) {
    anchors.push_back(generator.grid(level.stride, level.height, level.width));
  }
  std::vector<Proposals> proposals;
  for (std::size_t i = 0; i < images.size(); ++i) {
    std::vector<ProposalLevel> levels;
    for (std::size_t l = 0; l < maps.levels.size(); ++l) {
      const std::size_t count = anchors[l].size();
      levels.push_back({part_of(maps.levels[l].scores, i, count),
                        part_of(maps.levels[l].deltas, i, 4 * count), anchors[l]});
    }
    proposals.push_back(propose(levels, images[i], settings, isa));
  }
  return proposals;
}

std::vector<Region> regions_of(std::span<const Box> boxes, std::int64_t image) {
  std::vector<Region> regions;
  for (const Box& box : boxes) {
    regions.push_back({image, pyramid_level(box, kPooledLevels), box.x1, box.y1, box.x2, box.y2});
  }
  return regions;
}

std::vector<NetworkAnswer> run(Session& session, const ImageBatch& images, std::span<const Extent> extents,
                               const ProposalSettings& proposal_settings, const DetectionSettings& settings) {
  if (std::ssize(extents) != images.count) fail("{} images have {} extents", images.count, extents.size());
  const kernels::Isa isa = kernels::isa_from_name(session.model().isa());
  const auto proposals = propose(session.regions(images), extents, proposal_settings, isa);
  std::vector<NetworkAnswer> answers = choose(session, proposals, extents, settings, isa);
  add_masks(session, answers);
  return answers;
}

Network network_of(Session& session) {
  return [&session](const NetworkInput& input, const ProposalSettings& proposals,
                    const DetectionSettings& settings) {
    const ImageBatch image{
        .data = input.values.data(), .count = 1, .height = input.height, .width = input.width};
    return run(session, image, std::span(&input.image, 1), proposals, settings).front();
  };
}

}  // namespace spatialmamba::detection
