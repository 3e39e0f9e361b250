#pragma once

#include <torch/torch.h>

#include "nn/functions/state_mixing.h"

namespace spatialmamba::test {

/// nn::state_mixing() step by step, as the paper writes it: one token of the scan after the other, the oracle
/// of both its forms. `order`: the tokens, numbered row by row, in the order in which the scan visits them.
torch::Tensor plain_state_mixing(const torch::Tensor& xz, const nn::StateMixingParameters& parameters,
                                 const std::vector<std::int64_t>& order = {});

}  // namespace spatialmamba::test
