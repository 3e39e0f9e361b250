#pragma once

#include "cli/network.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::cli {

/// Throws UsageError unless either weights or an untrained variant are asked for.
void check_choice(const NetworkOptions& options);

/// One backend's network. Its functions are those of Network.
class NetworkBackend {
 public:
  NetworkBackend() = default;
  NetworkBackend(const NetworkBackend&) = delete;
  NetworkBackend& operator=(const NetworkBackend&) = delete;
  virtual ~NetworkBackend() = default;

  virtual const Architecture& architecture() const = 0;
  virtual TensorMap stages(const Tensor& images, bool all) const = 0;
  virtual std::vector<float> logits(std::span<const float> images, std::int64_t n, ImageSize size) const = 0;
  virtual std::vector<StateMaps> states(std::span<const float> images, std::int64_t n,
                                        ImageSize size) const = 0;

  std::map<std::string, std::string> metadata;
};

/// Weights that are whole: nothing is missing or unexpected, and all is finite. `source` stands for them in
/// messages.
std::shared_ptr<NetworkBackend> open_engine_network(const Weights& weights, const std::string& source,
                                                    const NetworkOptions& options);
/// Throws UsageError in a build without LibTorch.
std::shared_ptr<NetworkBackend> open_torch_network(const Weights& weights, const std::string& source,
                                                   const NetworkOptions& options);

}  // namespace spatialmamba::cli
