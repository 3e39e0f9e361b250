#pragma once

#include "nn/state_dict.h"
#include "train/parameter_groups.h"

namespace spatialmamba::train {

/// What training does with the values of a network of any task. A `Model` knows its architecture(), which
/// tensor_specs() turns into names; a `Holder` is LibTorch's handle of one.

/// Parameters and buffers by name, in the order of the state dictionary; they share the model's storage.
template <typename Model>
NamedTensors named_state(const Model& model) {
  return nn::named_state(model, tensor_specs(model.architecture()));
}

void set_element_type(const NamedTensors& state, torch::ScalarType type);

/// Turns parameters and floating-point buffers into float32 or float64.
template <typename Model>
void set_element_type(Model& model, torch::ScalarType type) {
  set_element_type(named_state(model), type);
}

/// Gives `to` the values and element types of `from`, which holds the same names.
void copy_values(const NamedTensors& from, const NamedTensors& to);

/// A model of its own with the same values, in evaluation mode and without gradients: the moving average.
template <typename Holder>
Holder average_of(const Holder& model, const nn::ModelOptions& options) {
  Holder average(model->architecture(), options);
  copy_values(named_state(*model), named_state(*average));
  for (torch::Tensor& parameter : average->parameters()) parameter.set_requires_grad(false);
  average->eval();
  return average;
}

}  // namespace spatialmamba::train
