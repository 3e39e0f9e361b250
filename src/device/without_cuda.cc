// Chosen by CMake without SPATIALMAMBA_CUDA.
#include "base/error.h"
#include "device/cuda.h"

namespace spatialmamba::device {

bool built_with_cuda() {
  return false;
}

c10::intrusive_ptr<c10d::Backend> add_nccl(c10d::ProcessGroup& /*processes*/,
                                           const c10::intrusive_ptr<c10d::Store>& /*store*/,
                                           const torch::Device& /*gpu*/, std::chrono::seconds /*timeout*/) {
  fail("this build has no CUDA, and so no NCCL");
}

}  // namespace spatialmamba::device
