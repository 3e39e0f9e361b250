#include "engine/batch_plan.h"

#include <algorithm>

namespace spatialmamba::engine {
namespace {

/// Tokens of the first stage that fill a group: those of 224 x 224 pixels, and a few more.
constexpr std::int64_t kGroupTokens = 4096;
/// A group that has fewer in some stage makes too little of that stage's weights.
constexpr std::int64_t kLeastTokens = 512;

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

BatchPlan plan_batch(const Network& network, const ImageBatch& images) {
  BatchPlan plan = undivided(images);
  const auto shapes = stage_shapes(network, 1, images.height, images.width);
  plan.group = std::clamp<std::int64_t>(kGroupTokens / shapes[0].tokens(), 1, images.count);
  if (!plan.grouped()) return plan;
  const std::size_t last = network.stages.size() - 1;
  while (plan.joint_stage < last && plan.group * shapes[plan.joint_stage].tokens() >= kLeastTokens) {
    ++plan.joint_stage;
  }
  return plan.joint_stage > 0 ? plan : undivided(images);
}

ImageBatch images_of(const Network& network, const ImageBatch& batch, std::int64_t first,
                     std::int64_t count) {
  ImageBatch part = batch;
  part.data += first * batch.height * batch.width * network.architecture.in_channels;
  part.count = std::min(count, batch.count - first);
  return part;
}

}  // namespace spatialmamba::engine
