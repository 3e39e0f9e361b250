#pragma once

#include <torch/torch.h>

#include <optional>
#include <string_view>

namespace spatialmamba::device {

/// Where training computes: "cpu", or with "cuda" the GPU that has this process's number among those of its
/// machine. Throws Error saying why where there is none.
torch::Device open(std::string_view name, int local_rank);

/// An uninitialised tensor of the CPU from which copies to the device need not be waited for.
torch::Tensor staging(at::IntArrayRef shape, torch::ScalarType type, const torch::Device& device);

/// A tensor of the CPU on the device, in order with what the device computes; the CPU goes on.
torch::Tensor send(const torch::Tensor& tensor, const torch::Device& device);

/// Returns when the device has computed all that was asked of it so far.
void wait(const torch::Device& device);

/// The most that tensors have taken of the device's own memory so far, in MiB; nothing for a CPU.
std::optional<double> peak_memory(const torch::Device& device);

}  // namespace spatialmamba::device
