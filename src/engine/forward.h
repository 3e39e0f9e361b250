#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/parallel.h"
#include "engine/network.h"
#include "engine/workspace.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::engine {

/// Sees the outputs of the stem, of each block and of each stage, by the names of their modules.
using Observer = std::function<void(const std::string& name, const MapShape& shape, const float* map)>;

/// Collects the times of a pass's steps.
class Profile {
 public:
  const std::vector<StepTime>& steps() const { return steps_; }
  /// The module whose parts the next steps are.
  void enter(std::string module) { module_ = std::move(module); }
  void add(std::string_view part, std::string_view kernel, double seconds, double flops, double bytes);

 private:
  std::string module_;
  std::vector<StepTime> steps_;
};

/// Those who want to know what happens on the way; either may be missing.
struct Watchers {
  Observer observe;
  Profile* profile = nullptr;
};

/// Runs the network on images; `pooled` is [N, C of the last stage], `logits` [N, classes].
void forward(const Network& network, const ImageBatch& images, const ParallelFor& parallel,
             Workspace& workspace, float* pooled, float* logits, const Watchers& watchers);

}  // namespace spatialmamba::engine
