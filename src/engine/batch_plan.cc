#include "engine/batch_plan.h"

#include <algorithm>

namespace spatialmamba::engine {
namespace {

/// Tokens of the first stage that fill a group, for each thread, which brings a cache of its own: two threads
/// take one image of 224 x 224 pixels.
constexpr std::int64_t kGroupTokens = 2048;
/// A group that has fewer for each thread makes too little of a stage's weights, and tasks too small.
constexpr std::int64_t kLeastTokens = 256;

}  // namespace

std::array<MapShape, kMaxStages> stage_shapes(const Network& network, std::int64_t images,
                                              std::int64_t height, std::int64_t width) {
  std::array<MapShape, kMaxStages> shapes;
  const Stem& stem = network.stem;
  MapShape shape = halved(halved({images, height, width, 0}, 0), stem.conv3_1.outputs());
  for (std::size_t i = 0; i < network.stages.size(); ++i) {
    shapes[i] = shape;
    for (const Downsampling& down : network.stages[i].downsample)
      shape = halved(shape, down.reduce.outputs());
  }
  return shapes;
}

BatchPlan undivided(const ImageBatch& images) {
  return {.count = images.count, .height = images.height, .width = images.width, .group = images.count};
}

BatchPlan plan_batch(const Network& network, const ImageBatch& images, int threads) {
  BatchPlan plan = undivided(images);
  const auto shapes = stage_shapes(network, 1, images.height, images.width);
  plan.group = std::clamp<std::int64_t>(threads * kGroupTokens / shapes[0].tokens(), 1, images.count);
  if (!plan.grouped()) return plan;
  const std::size_t last = network.stages.size() - 1;
  while (plan.joint_stage < last &&
         plan.group * shapes[plan.joint_stage].tokens() >= threads * kLeastTokens) {
    ++plan.joint_stage;
  }
  return plan.joint_stage > 0 ? plan : undivided(images);
}

ImageBatch slice(const Network& network, const ImageBatch& batch, std::int64_t first, std::int64_t count) {
  ImageBatch part = batch;
  part.data += first * batch.height * batch.width * network.architecture.in_channels;
  part.count = std::min(count, batch.count - first);
  return part;
}

}  // namespace spatialmamba::engine
