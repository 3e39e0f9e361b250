// A build without LibTorch has the engine alone.
#include "base/error.h"
#include "cli/network_backend.h"

namespace spatialmamba::cli {

std::shared_ptr<NetworkBackend> open_torch_network(const Weights&, const std::string&,
                                                   const NetworkOptions&) {
  fail_usage(
      "this build has no LibTorch: the engine computes in fp32 and bf16; for fp64 build the preset "
      "`release`");
}

}  // namespace spatialmamba::cli
