#include "device/device.h"

#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>

#include <cstdlib>

#include "base/error.h"
#include "device/cuda.h"

namespace spatialmamba::device {
namespace {

constexpr double kMiB = 1024.0 * 1024.0;

torch::Device open_gpu(int local_rank) {
  if (!built_with_cuda()) {
    fail(
        "device cuda: this build has no CUDA; build the preset `cuda` (./setup --cuda), or choose the device "
        "cpu");
  }
  const auto gpus = static_cast<int>(torch::cuda::is_available() ? torch::cuda::device_count() : 0);
  if (gpus == 0) {
    fail(
        "device cuda: no GPU was found; is the NVIDIA driver loaded, and CUDA_VISIBLE_DEVICES "
        "right?");
  }
  // A scheduler that gives each process a GPU of its own shows it no other.
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  const bool own =
      visible != nullptr && *visible != '\0' && std::string_view(visible).find(',') == std::string_view::npos;
  if (own) local_rank = 0;
  if (local_rank >= gpus) {
    fail("device cuda: process {} of this machine has no GPU of its own, there are {}", local_rank, gpus);
  }
  const torch::Device gpu(torch::kCUDA, static_cast<torch::DeviceIndex>(local_rank));
  at::accelerator::setDeviceIndex(gpu.index());
  // fp32 means fp32, in the convolutions too, and a run is to be repeated.
  at::globalContext().setAllowTF32CuDNN(false);
  at::globalContext().setDeterministicCuDNN(true);
  return gpu;
}

}  // namespace

torch::Device open(std::string_view name, int local_rank) {
  return name == "cuda" ? open_gpu(local_rank) : torch::Device(torch::kCPU);
}

torch::Tensor staging(at::IntArrayRef shape, torch::ScalarType type, const torch::Device& device) {
  return torch::empty(shape, torch::TensorOptions().dtype(type).pinned_memory(device.is_cuda()));
}

torch::Tensor send(const torch::Tensor& tensor, const torch::Device& device) {
  return tensor.to(device, /*non_blocking=*/true);
}

void wait(const torch::Device& device) {
  if (!device.is_cpu()) at::accelerator::synchronizeDevice(device.index());
}

std::optional<double> peak_memory(const torch::Device& device) {
  if (!device.is_cuda()) return std::nullopt;
  constexpr auto kAll = static_cast<std::size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  const auto stats = at::accelerator::getDeviceStats(device.index());
  return static_cast<double>(stats.allocated_bytes[kAll].peak) / kMiB;
}

}  // namespace spatialmamba::device
