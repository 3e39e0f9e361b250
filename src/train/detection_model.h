#pragma once

#include <functional>
#include <string>

#include "detection/predict.h"
#include "nn/detector.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::train {

/// Everything about a detector that training and running it share.

/// Loads what a detector can start from: weights of a detector (the classifiers of another class count start
/// anew), or of a classifier, whose head and last norm are left out; a classifier of grey pictures has its
/// first convolution spread over the colours. Throws Error naming `source` for anything else.
void start_from(nn::DetectorImpl& model, const TensorMap& tensors, const std::string& source,
                const std::function<void(const std::string&)>& say);

/// The model as whatever predicts sees it: in evaluation mode, without gradients. It must outlive the result.
detection::Network network_of(nn::DetectorImpl& model);

}  // namespace spatialmamba::train
