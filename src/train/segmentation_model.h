#pragma once

#include <functional>
#include <string>

#include "nn/segmentor.h"
#include "segmentation/predict.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::train {

/// Everything about a segmentor that training and running it share.

/// Loads what a segmentor can start from: weights of a segmentor (heads of another class count start anew),
/// or of a classifier, whose head and last norm are left out; a classifier of grey pictures has its first
/// convolution spread over the colours. Throws Error naming `source` for anything else.
void start_from(nn::SegmentorImpl& model, const TensorMap& tensors, const std::string& source,
                const std::function<void(const std::string&)>& say);

/// The model as whatever predicts sees it: in evaluation mode, without gradients. It must outlive the result.
segmentation::Network network_of(nn::SegmentorImpl& model);

}  // namespace spatialmamba::train
