#include "cli/network.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <map>
#include <utility>

#include "base/error.h"
#include "cli/network_backend.h"
#include "model/initialise.h"
#include "model/scan_order.h"

namespace spatialmamba::cli {

void check_choice(const NetworkOptions& options) {
  if (options.weights.empty() == options.variant.empty()) {
    fail_usage("--weights FILE is needed, or --variant NAME --untrained for random weights");
  }
  if (options.untrained != !options.variant.empty()) {
    fail_usage("--variant and --untrained go together: a variant alone has no trained weights");
  }
}

namespace {

/// What fits the model, and initial weights for the rest.
Weights completed(Weights weights, const std::string& source, std::uint64_t seed) {
  const Architecture architecture = infer_architecture(weights.tensors);
  const WeightsMismatch mismatch = compare(architecture, weights.tensors);
  if (mismatch.empty()) return weights;
  if (!mismatch.misshaped.empty()) {
    fail("{}: the weights do not fit model {}\n{}", source, architecture.variant, mismatch.describe());
  }
  spdlog::warn("{}:\n{}", source, mismatch.describe());
  Weights whole;
  whole.metadata = std::move(weights.metadata);
  for (const auto& [name, initial] : initial_weights(architecture, seed)) {
    const Tensor* found = weights.tensors.find(name);
    whole.tensors.add(name, found == nullptr ? initial : *found);
  }
  return whole;
}

Weights weights_for(const NetworkOptions& options) {
  if (options.untrained) return {initial_weights(architecture_of(options.variant), options.seed), {}};
  Weights weights = read_weights(options.weights, options.ema ? "model_ema" : "");
  return options.lenient ? completed(std::move(weights), options.weights.string(), options.seed)
                         : std::move(weights);
}

/// Throws Error unless `images` holds n images of that size.
void require_values(std::span<const float> images, std::int64_t n, ImageSize size, std::int64_t channels) {
  if (std::ssize(images) != n * size.height * size.width * channels) {
    fail("{} values for {} images of {} x {} with {} channels", images.size(), n, size.height, size.width,
         channels);
  }
}

}  // namespace

void add_network(CLI::App& app, NetworkOptions& options) {
  add_weights(app, options.weights);
  add_ema(app, options.ema);
  app.add_flag("--lenient", options.lenient, "Run although weights are missing or unexpected, and list them");
  app.add_option("--variant", options.variant,
                 fmt::format("A built-in model instead of weights: {}", fmt::join(variant_names(), ", ")))
      ->type_name("NAME");
  app.add_flag("--untrained", options.untrained, "Give that model random weights: its answers mean nothing");
  add_seed(app, options.seed);
  add_threads(app, options.threads);
  add_precision(app, options.precision);
}

void add_backend(CLI::App& app, NetworkOptions& options) {
  static const std::map<std::string, Backend> names = {{"engine", Backend::engine},
                                                       {"torch", Backend::torch}};
  app.add_option("--backend", options.backend,
                 "What computes: engine (default, but for fp16 and fp64), or LibTorch")
      ->transform(CLI::CheckedTransformer(names))
      ->option_text("engine|torch");
}

Network Network::open(const NetworkOptions& options) {
  check_choice(options);
  const bool engine_has_it = engine_computes_in(options.precision);
  if (options.backend == Backend::engine && !engine_has_it) {
    fail_usage("--precision {0}: the engine computes in fp32 or bf16; --backend torch in {0} too",
               name_of(options.precision));
  }
  const Weights weights = weights_for(options);
  const std::string source = options.untrained ? options.variant : options.weights.string();
  const bool beyond_engine = !engine_has_it || scan_order_of(weights.metadata, source) != ScanOrder::row;
  const Backend chosen = options.backend.value_or(beyond_engine ? Backend::torch : Backend::engine);
  auto backend = chosen == Backend::engine ? open_engine_network(weights, source, options)
                                           : open_torch_network(weights, source, options);
  backend->metadata = weights.metadata;
  return Network(std::move(backend));
}

const Architecture& Network::architecture() const {
  return backend_->architecture();
}

const std::map<std::string, std::string>& Network::metadata() const {
  return backend_->metadata;
}

TensorMap Network::stages(const Tensor& images, bool all) const {
  return backend_->stages(images, all);
}

std::vector<float> Network::logits(std::span<const float> images, std::int64_t n, ImageSize size) const {
  require_values(images, n, size, architecture().in_channels);
  return backend_->logits(images, n, size);
}

std::vector<StateMaps> Network::states(std::span<const float> images, std::int64_t n, ImageSize size) const {
  require_values(images, n, size, architecture().in_channels);
  return backend_->states(images, n, size);
}

}  // namespace spatialmamba::cli
