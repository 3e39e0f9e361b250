// Chosen by CMake with SPATIALMAMBA_CUDA: the only file that sees CUDA's own headers.
#include "device/cuda.h"

#define USE_C10D_NCCL  // LibTorch is built with it; its headers ask
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupNCCL.hpp>

#include <cstdlib>

namespace spatialmamba::device {

bool built_with_cuda() {
  return true;
}

c10::intrusive_ptr<c10d::Backend> add_nccl(c10d::ProcessGroup& processes,
                                           const c10::intrusive_ptr<c10d::Store>& store,
                                           const torch::Device& gpu, std::chrono::seconds timeout) {
  // A process that waits for another must get an exception when that one is gone; by default LibTorch's
  // watchdog would end it without a word. The user's own setting stays.
  ::setenv("TORCH_NCCL_BLOCKING_WAIT", "1", 0);
  const auto options = c10d::ProcessGroupNCCL::Options::create();
  options->timeout = timeout;
  const auto nccl =
      c10::make_intrusive<c10d::ProcessGroupNCCL>(c10::make_intrusive<c10d::PrefixStore>("nccl", store),
                                                  processes.getRank(), processes.getSize(), options);
  nccl->setBoundDeviceId(gpu);
  processes.setBackend(c10::DeviceType::CUDA, c10d::ProcessGroup::BackendType::NCCL,
                       c10::intrusive_ptr<c10d::Backend>(nccl));
  return nccl;
}

}  // namespace spatialmamba::device
