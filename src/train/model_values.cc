#include "train/model_values.h"

namespace spatialmamba::train {

void set_element_type(const NamedTensors& state, torch::ScalarType type) {
  for (const auto& [name, tensor] : state) {
    if (tensor.is_floating_point()) tensor.set_data(tensor.detach().to(type));
  }
}

void copy_values(const NamedTensors& from, const NamedTensors& to) {
  for (std::size_t i = 0; i < to.size(); ++i) to[i].second.set_data(from[i].second.detach().clone());
}

}  // namespace spatialmamba::train
