#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cli/options.h"
#include "spatialmamba/architecture.h"
#include "spatialmamba/tensor.h"

namespace spatialmamba::cli {

/// What computes: our engine, which needs no LibTorch, or LibTorch.
enum class Backend { engine, torch };

/// Which network a verb runs, and how.
struct NetworkOptions {
  std::filesystem::path weights;
  bool ema = false;
  /// Run although names are missing or unexpected (a warning lists them).
  bool lenient = false;
  /// Instead of weights: a built-in variant with random ones.
  std::string variant;
  bool untrained = false;
  std::uint64_t seed = 0;
  int threads = 1;
  Precision precision = Precision::fp32;
  /// Unless set, the engine where it can do what is asked for.
  std::optional<Backend> backend;
};

/// The options that fill NetworkOptions; the verb says which precision and seed mean anything to it.
void add_network(CLI::App& app, NetworkOptions& options);
void add_backend(CLI::App& app, NetworkOptions& options);

/// The states of a block before and after fusion, (N, H, W, E) float32.
struct StateMaps {
  std::string block;  ///< "layers.0.blocks.1"
  Tensor before;
  Tensor after;
};

class NetworkBackend;

/// A classifier ready to run, whatever computes it: this header is all that the verbs know of either backend.
class Network {
 public:
  /// Throws Error naming the file for weights that are broken, do not fit the model or are not finite;
  /// UsageError when neither weights nor an untrained variant are asked for, and when this build lacks the
  /// backend.
  static Network open(const NetworkOptions& options);

  const Architecture& architecture() const;
  const std::map<std::string, std::string>& metadata() const;

  /// images (N, in_channels, H, W) -> patch_embed, layers.0 ... (N, H, W, C), pooled, logits: float64 for
  /// fp64, else float32. With `all` also every block and the last norm. Throws Error naming
  /// the first map that is not finite.
  TensorMap stages(const Tensor& images, bool all) const;

  /// images [n][height][width][in_channels] -> logits [n][classes].
  std::vector<float> logits(std::span<const float> images, std::int64_t n, ImageSize size) const;

  /// The same input -> the states of every block (LibTorch only).
  std::vector<StateMaps> states(std::span<const float> images, std::int64_t n, ImageSize size) const;

 private:
  explicit Network(std::shared_ptr<NetworkBackend> backend) : backend_(std::move(backend)) {}

  std::shared_ptr<NetworkBackend> backend_;
};

}  // namespace spatialmamba::cli
