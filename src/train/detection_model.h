#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "detection/predict.h"
#include "nn/detector.h"
#include "spatialmamba/weights.h"
#include "train/parameter_groups.h"

namespace spatialmamba::train {

/// Everything about a detector that training and running it share.

/// Its parameters and buffers by name, in the order of the state dictionary.
NamedTensors named_state(const nn::DetectorImpl& model);

/// Turns parameters and floating-point buffers into float32 or float64.
void set_element_type(nn::DetectorImpl& model, torch::ScalarType type);

/// A model of its own with the same values, in evaluation mode and without gradients: the moving average.
nn::Detector average_of(const nn::DetectorImpl& model, const nn::ModelOptions& options);

/// mmdetection's rule for these models: names that hold "norm" do not decay, everything else does.
ParameterGroups detection_groups(const NamedTensors& parameters);

/// Loads what a detector can start from: weights of a detector (the classifiers of another class count start
/// anew), or of a classifier, whose head and last norm are left out; a classifier of grey pictures has its
/// first convolution spread over the colours. Throws Error naming `source` for anything else.
void start_from(nn::DetectorImpl& model, const TensorMap& tensors, const std::string& source,
                const std::function<void(const std::string&)>& say);

/// The model as whatever predicts sees it: in evaluation mode, without gradients. It must outlive the result.
detection::Network network_of(nn::DetectorImpl& model);

}  // namespace spatialmamba::train
