#pragma once

#include "base/parallel.h"
#include "engine/batch_plan.h"
#include "engine/detector.h"
#include "engine/executor.h"
#include "engine/map.h"
#include "engine/network.h"
#include "engine/workspace.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::engine {

/// Those who want to know what happens on the way; either may be missing.
struct Watchers {
  Observer observe;
  Profile* profile = nullptr;
};

/// How a batch will pass; together for who wants to see whole maps.
BatchPlan plan_for(const Network& network, const ImageBatch& images, int threads, const Watchers& watchers);

/// What a classifier makes of images, for memory of the caller's.
struct ClassifierOutput {
  float* pooled;  ///< [N, C of the last stage]
  float* logits;  ///< [N, classes]
};

void forward(const Network& network, const ImageBatch& images, const ParallelFor& parallel,
             Workspace& workspace, const ClassifierOutput& output, const Watchers& watchers);

/// The same for a segmentor: scores [N, ceil(H / 4), ceil(W / 4), classes], in memory of the workspace.
Map forward_segmentor(const Network& network, const ImageBatch& images, const ParallelFor& parallel,
                      Workspace& workspace, const Watchers& watchers);

/// The first half of a detector: everything that is computed on whole images, in memory of the workspace.
DetectorMaps forward_detector(const Network& network, const ImageBatch& images, const ParallelFor& parallel,
                              Workspace& workspace, const Watchers& watchers);

}  // namespace spatialmamba::engine
