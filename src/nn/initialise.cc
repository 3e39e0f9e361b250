#include "nn/initialise.h"

#include <string_view>

#include "model/initialise.h"
#include "nn/state_dict.h"

namespace spatialmamba::nn {
namespace {

void initialise_names(SpatialMambaImpl& model, std::uint64_t seed, std::string_view prefix) {
  const torch::NoGradGuard no_grad;
  const TensorMap initial = initial_weights(model.architecture(), seed);
  for (auto& [name, tensor] : named_state(model)) {
    if (name.starts_with(prefix)) tensor.copy_(to_torch(initial.at(name)));
  }
}

}  // namespace

void initialise(SpatialMambaImpl& model, std::uint64_t seed) {
  initialise_names(model, seed, "");
}

void initialise_head(SpatialMambaImpl& model, std::uint64_t seed) {
  initialise_names(model, seed, "head.");
}

}  // namespace spatialmamba::nn
