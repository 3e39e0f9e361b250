// A build without LibTorch has the engine alone.
#include "base/error.h"
#include "cli/bench_training.h"
#include "cli/network_backend.h"

namespace spatialmamba::cli {

std::shared_ptr<NetworkBackend> open_torch_network(const Weights&, const std::string&,
                                                   const NetworkOptions&) {
  fail_usage(
      "this build has no LibTorch: the engine computes in fp32 and bf16; for others build the "
      "preset `release`");
}

nlohmann::ordered_json bench_training(const Architecture&, const TrainingBench&) {
  fail_usage("this build has no LibTorch and cannot train; for --train build the preset `release`");
}

}  // namespace spatialmamba::cli
