#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "spatialmamba/architecture.h"
#include "spatialmamba/task.h"
#include "train/model_values.h"

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

/// Loads weights of a model like this one, of which the layers that `may_differ` start anew where they do not
/// fit, or of a classifier, see backbone_tensors(). Throws Error naming `source` for anything else. `say`
/// gets a sentence about whatever is left out.
template <typename Model>
void start_network(Model& model, const TensorMap& tensors, const std::string& source,
                   const std::function<bool(std::string_view)>& may_differ,
                   const std::function<void(const std::string&)>& say) {
  const auto& architecture = model.architecture();
  TensorMap fitting;
  if (infer_task(tensors) == Task::classification) {
    fitting = backbone_tensors(tensors, architecture.backbone.in_channels);
    say(fmt::format("{}: a classifier, the backbone starts from it", source));
  } else {
    std::vector<std::string> left_out;
    fitting = fitting_tensors(tensors, compare(architecture, tensors), may_differ, left_out);
    for (const std::string& name : left_out) {
      say(fmt::format("{}: {} does not fit and starts anew", source, name));
    }
  }
  WeightsMismatch mismatch = compare(architecture, fitting);
  allow_missing_heads(mismatch, fitting);
  nn::load_state(named_state(model), fitting, mismatch, source, architecture.backbone.variant);
}

}  // namespace spatialmamba::train
