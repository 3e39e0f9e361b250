#pragma once

#include <torch/torch.h>

#include "model/scan_order.h"

namespace spatialmamba::nn {

/// x (N, H, W, C) with its tokens in the order in which a scan visits them; x itself for rows. For a scan the
/// result is N sequences of H·W tokens: what its middle dimensions are called means nothing.
torch::Tensor to_scan_order(const torch::Tensor& x, ScanOrder order);
/// The inverse.
torch::Tensor to_map_order(const torch::Tensor& sequence, ScanOrder order);

}  // namespace spatialmamba::nn
