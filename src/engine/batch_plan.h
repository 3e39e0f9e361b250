#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "engine/map.h"
#include "engine/network.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::engine {

/// How a batch passes through a network. The stem and the first stages have large maps and few weights: they
/// take the images in groups small enough for their maps to stay in a cache. The later stages have many
/// weights, which are read once when they take all images together.
struct BatchPlan {
  std::int64_t count = 0;  ///< images of the batch
  std::int64_t height = 0;
  std::int64_t width = 0;
  std::int64_t group = 0;       ///< images of a group; `count`: there is but one
  std::size_t joint_stage = 0;  ///< where there are several: the first stage that takes all images together

  bool grouped() const { return group < count; }
  /// Images that a stage takes at a time.
  std::int64_t images_at(std::size_t stage) const { return stage < joint_stage ? group : count; }
};

BatchPlan plan_batch(const Network& network, const ImageBatch& images, int threads);

/// All images together all the way, for who wants to see whole maps.
BatchPlan undivided(const ImageBatch& images);

/// The maps of so many images in every stage.
std::array<MapShape, kMaxStages> stage_shapes(const Network& network, std::int64_t images,
                                              std::int64_t height, std::int64_t width);

/// Part of a batch: `count` of its images from `first` on, or those that are left.
ImageBatch slice(const Network& network, const ImageBatch& batch, std::int64_t first, std::int64_t count);

}  // namespace spatialmamba::engine
