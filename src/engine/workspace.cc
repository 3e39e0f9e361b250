#include "engine/workspace.h"

#include <algorithm>

#include "engine/detector.h"
#include "engine/downsampling.h"
#include "engine/stem.h"
#include "engine/tasks.h"
#include "engine/upernet.h"

namespace spatialmamba::engine {
namespace {

/// What the steps of a block leave for each other: two halves of in_proj, the convolved states and what
/// x_proj makes of them; or the hidden values of the MLP.
std::int64_t wide_of(const Block& block, std::int64_t tokens) {
  const StateMixing& mixing = block.mixing;
  return tokens * std::max(3 * mixing.scan_fusion.channels + mixing.x_proj.outputs(), block.fc1.outputs());
}

void grow(kernels::AlignedVector<float>& values, std::int64_t floats) {
  const auto wanted = static_cast<std::size_t>(floats);
  if (values.size() >= wanted) return;
  values = {};  // what it holds is of no use, so it need not be copied
  values.resize(wanted);
}

}  // namespace

WorkspacePlan plan_workspace(const Network& network, const BatchPlan& batch, int threads) {
  WorkspacePlan plan{.wide = stem_memory(network, batch.group, batch.height, batch.width)};
  const auto shapes = stage_shapes(network, batch.count, batch.height, batch.width);
  Features features;
  for (std::size_t i = 0; i < network.stages.size(); ++i) {
    const Stage& stage = network.stages[i];
    features.add({shapes[i], nullptr});
    MapShape shape = shapes[i];
    shape.images = batch.images_at(i);
    plan.map = std::max(plan.map, shape.size());
    if (batch.grouped() && i >= batch.joint_stage) plan.joint = std::max(plan.joint, shape.size());
    for (const Block& block : stage.blocks) plan.wide = std::max(plan.wide, wide_of(block, shape.tokens()));
    for (const Downsampling& down : stage.downsample) {
      plan.wide = std::max(plan.wide, downsampling_memory(down, shape, threads));
      plan.map = std::max(plan.map, halved(shape, down.reduce.outputs()).size());
    }
  }
  const MapShape& last = features.back().shape;
  const std::int64_t pooled_parts = divide_up(last.height * last.width, kPoolRows);
  plan.wide = std::max(plan.wide, last.images * pooled_parts * last.channels);
  if (network.decode_head) {
    plan.decode = decode_memory(*network.decode_head, features);
    for (const Map& feature : features) plan.decode += feature.shape.size();
  }
  if (network.detector) {
    plan.decode = detector_memory(*network.detector, features);
    for (const Map& feature : features) plan.decode += feature.shape.size();
    plan.wide = std::max(plan.wide, region_memory(*network.detector));  // when the backbone is done
  }
  return plan;
}

void Workspace::reserve(const WorkspacePlan& plan) {
  for (auto& map : maps) grow(map, plan.map);
  grow(joint, plan.joint);
  grow(wide, plan.wide);
  grow(decode, plan.decode);
}

std::int64_t Workspace::bytes() const {
  const auto floats =
      static_cast<std::int64_t>(maps[0].size() + maps[1].size() + joint.size() + wide.size() + decode.size());
  return floats * static_cast<std::int64_t>(sizeof(float)) + scratch.bytes();
}

}  // namespace spatialmamba::engine
