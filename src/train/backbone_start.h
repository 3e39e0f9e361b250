#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "spatialmamba/architecture.h"

namespace spatialmamba::train {

/// What networks with a backbone start from, whatever their task.

/// A classifier's tensors under the names that they have in a backbone with so many stages: without head and
/// last norm, the first convolution of grey pictures spread over the colours.
TensorMap backbone_tensors(const TensorMap& classifier, std::int64_t in_channels);

/// A model's tensors without those of another shape that `may_differ` (they belong to other classes); their
/// names go to `left_out`.
TensorMap fitting_tensors(const TensorMap& tensors, const WeightsMismatch& mismatch,
                          const std::function<bool(std::string_view)>& may_differ,
                          std::vector<std::string>& left_out);

/// Heads, and what a classifier has none of (output norms, stages beyond the last in `tensors`), may be
/// missing.
void allow_missing_heads(WeightsMismatch& mismatch, const TensorMap& tensors);

}  // namespace spatialmamba::train
