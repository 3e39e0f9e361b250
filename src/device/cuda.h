#pragma once

#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>

#include <chrono>

namespace spatialmamba::device {

/// Whether this build can compute on GPUs at all.
bool built_with_cuda();

/// Lets a group of processes sum and send tensors of the given GPU, over NCCL, and returns what does it.
/// Throws Error in a build without CUDA.
c10::intrusive_ptr<c10d::Backend> add_nccl(c10d::ProcessGroup& processes,
                                           const c10::intrusive_ptr<c10d::Store>& store,
                                           const torch::Device& gpu, std::chrono::seconds timeout);

}  // namespace spatialmamba::device
