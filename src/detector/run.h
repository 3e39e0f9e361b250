#pragma once

#include <span>
#include <vector>

#include "detection/predict.h"
#include "detection/select.h"
#include "spatialmamba/engine.h"

namespace spatialmamba::detection {

/// The proposals of each image of a batch; the extents are those without padding.
std::vector<Proposals> propose(const RegionMaps& maps, std::span<const Extent> images,
                               const ProposalSettings& settings, kernels::Isa isa);

/// Proposals as what a session looks at.
std::vector<Region> regions_of(std::span<const Box> boxes, std::int64_t image);

/// The whole of a detector for a batch, by an engine's session. Throws Error when an answer of the network is
/// not finite.
std::vector<NetworkAnswer> run(Session& session, const ImageBatch& images, std::span<const Extent> extents,
                               const ProposalSettings& proposals, const DetectionSettings& settings);

/// The same as what predict() calls; the session must outlive it.
Network network_of(Session& session);

}  // namespace spatialmamba::detection
