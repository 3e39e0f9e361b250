#pragma once

#include "spatialmamba/engine.h"

namespace spatialmamba::cli {

/// What a user of a network waits for, as tensors: a classifier's `logits` (N, classes); a segmentor's
/// `labels` (N, H, W), the best class of each pixel of the input; and of a detector, with the reference's
/// thresholds, `boxes` (D, 4) in pixels of the input, `scores`, `classes` and `images` (D), best first within
/// an image, and COCO's runs of their masks in those pixels: `runs`, one mask behind another, of `mask_runs`
/// (D) runs each; `proposals` (N) says how many boxes were looked at.
TensorMap whole_answer(Session& session, const ImageBatch& images);

}  // namespace spatialmamba::cli
