#pragma once

#include <torch/torch.h>

#include <string>
#include <vector>

#include "device/device.h"
#include "nn/compute.h"

namespace spatialmamba::test {

/// Where a network may run, and of what it is then made.
struct Way {
  torch::Device device;
  nn::Operators operators;

  std::string name() const {
    return device.str() + (operators == nn::Operators::composed ? " composed" : " fused");
  }
  /// The same for GoogleTest, which wants letters.
  std::string identifier() const {
    return std::string(device.is_cpu() ? "cpu" : "gpu") +
           (operators == nn::Operators::composed ? "_composed" : "_fused");
  }
};

/// What LibTorch's operators can run on here: the CPU, and a GPU where there is one.
inline std::vector<torch::Device> devices() {
  std::vector<torch::Device> all = {torch::kCPU};
  if (torch::cuda::is_available()) all.push_back(device::open("cuda", 0));
  return all;
}

/// All ways of this machine, the fused one first.
inline std::vector<Way> ways() {
  std::vector<Way> all = {{torch::kCPU, nn::Operators::fused}};
  for (const torch::Device& device : devices()) all.push_back({device, nn::Operators::composed});
  return all;
}

}  // namespace spatialmamba::test
