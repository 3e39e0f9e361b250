#pragma once

#include <functional>
#include <string>

#include "nn/segmentor.h"
#include "segmentation/predict.h"
#include "spatialmamba/weights.h"
#include "train/parameter_groups.h"

namespace spatialmamba::train {

/// Everything about a segmentor that training and running it share.

/// Its parameters and buffers by name, in the order of the state dictionary.
NamedTensors named_state(const nn::SegmentorImpl& model);

/// Turns parameters and floating-point buffers into float32 or float64.
void set_element_type(nn::SegmentorImpl& model, torch::ScalarType type);

/// A model of its own with the same values, in evaluation mode and without gradients: the moving average.
nn::Segmentor average_of(const nn::SegmentorImpl& model, const nn::ModelOptions& options);

/// mmsegmentation's rule for these models: names that hold "norm" do not decay, everything else does (the
/// heads' batch norms, called `bn`, and biases included).
ParameterGroups segmentation_groups(const NamedTensors& parameters);

/// Loads what a segmentor can start from: weights of a segmentor (heads of another class count start anew),
/// or of a classifier, whose head and last norm are left out; a classifier of grey pictures has its first
/// convolution spread over the colours. Throws Error naming `source` for anything else.
void start_from(nn::SegmentorImpl& model, const TensorMap& tensors, const std::string& source,
                const std::function<void(const std::string&)>& say);

/// The model as whatever predicts sees it: in evaluation mode, without gradients. It must outlive the result.
segmentation::Network network_of(nn::SegmentorImpl& model);

}  // namespace spatialmamba::train
