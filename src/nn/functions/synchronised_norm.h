#pragma once

#include <torch/torch.h>

#include <functional>

namespace spatialmamba::nn {

/// Replaces a tensor by its sum over all processes that train together.
using SumOverProcesses = std::function<void(torch::Tensor&)>;

/// A batch normalised by the mean and variance of all processes' batches together.
struct SynchronisedNorm {
  torch::Tensor y;
  torch::Tensor mean;      ///< (C)
  torch::Tensor variance;  ///< (C), unbiased: for the running statistics
};

/// x (..., C) -> (x - mean) / sqrt(variance + epsilon) * weight + bias over everything but C. Every process
/// calls it at the same time, and its backward too.
SynchronisedNorm synchronised_norm(const torch::Tensor& x, const torch::Tensor& weight,
                                   const torch::Tensor& bias, double epsilon, const SumOverProcesses& sum);

}  // namespace spatialmamba::nn
