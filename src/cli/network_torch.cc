// The network as LibTorch computes it.
#include <ATen/Parallel.h>
#include <spdlog/spdlog.h>
#include <torch/torch.h>

#include "base/error.h"
#include "cli/network.h"
#include "nn/initialise.h"
#include "nn/spatial_mamba.h"
#include "nn/state_dict.h"
#include "spatialmamba/weights.h"

namespace spatialmamba::cli {

struct Network::Implementation {
  nn::SpatialMamba model{nullptr};
  std::map<std::string, std::string> metadata;

  torch::ScalarType type() const { return model->parameters().front().scalar_type(); }

  torch::Tensor forward_input(std::span<const float> images, std::int64_t n, ImageSize size) const {
    const std::int64_t channels = model->architecture().in_channels;
    if (std::ssize(images) != n * size.height * size.width * channels) {
      fail("{} values for {} images of {} x {} with {} channels", images.size(), n, size.height, size.width,
           channels);
    }
    // from_blob takes no const pointer; the tensor is only read.
    const torch::Tensor view = torch::from_blob(const_cast<float*>(images.data()),
                                                {n, size.height, size.width, channels}, torch::kFloat32);
    return view.permute({0, 3, 1, 2}).to(type());
  }
};

namespace {

void require_finite(const Weights& weights, const std::string& source) {
  for (const auto& [name, tensor] : weights.tensors) {
    const torch::Tensor values = nn::to_torch(tensor);
    if (values.is_floating_point() && !torch::isfinite(values).all().item<bool>()) {
      fail("{}: {} holds values that are not finite (NaN or infinite)", source, name);
    }
  }
}

nn::SpatialMamba untrained_model(const NetworkOptions& options, const nn::ModelOptions& model_options) {
  nn::SpatialMamba model(architecture_of(options.variant), model_options);
  nn::initialise(*model, options.seed);
  return model;
}

nn::SpatialMamba loaded_model(const NetworkOptions& options, const nn::ModelOptions& model_options,
                              const Weights& weights) {
  const std::string source = options.weights.string();
  Architecture architecture;
  try {
    architecture = infer_architecture(weights.tensors);
  } catch (const Error& error) {
    fail("{}: {}", source, error.what());
  }
  require_finite(weights, source);
  nn::SpatialMamba model(architecture, model_options);
  if (options.lenient) nn::initialise(*model, options.seed);  // for what is missing
  const nn::LoadReport report =
      nn::load_weights(*model, weights.tensors, source,
                       {.allow_missing = options.lenient, .allow_unexpected = options.lenient});
  if (!report.mismatch.empty()) spdlog::warn("{}:\n{}", source, report.mismatch.describe());
  return model;
}

void check_choice(const NetworkOptions& options) {
  if (options.weights.empty() == options.variant.empty()) {
    fail_usage("--weights FILE is needed, or --variant NAME --untrained for random weights");
  }
  if (options.untrained != !options.variant.empty()) {
    fail_usage("--variant and --untrained go together: a variant alone has no trained weights");
  }
}

}  // namespace

Network Network::open(const NetworkOptions& options) {
  check_choice(options);
  at::set_num_threads(options.threads);
  const nn::ModelOptions model_options{
      .precision = options.precision == Precision::bf16 ? nn::Precision::bf16 : nn::Precision::full};
  auto implementation = std::make_shared<Implementation>();
  if (options.untrained) {
    implementation->model = untrained_model(options, model_options);
  } else {
    const Weights weights = read_weights(options.weights, options.ema ? "model_ema" : "");
    implementation->model = loaded_model(options, model_options, weights);
    implementation->metadata = weights.metadata;
  }
  if (options.precision == Precision::fp64) implementation->model->to(torch::kFloat64);
  implementation->model->eval();
  return Network(std::move(implementation));
}

const Architecture& Network::architecture() const {
  return implementation_->model->architecture();
}

const std::map<std::string, std::string>& Network::metadata() const {
  return implementation_->metadata;
}

TensorMap Network::stages(const Tensor& images, bool all) const {
  const torch::NoGradGuard no_grad;
  const torch::Tensor input = nn::to_torch(images).to(implementation_->type());
  TensorMap maps;
  for (const auto& [name, tensor] : implementation_->model->forward_stages(input, all).named()) {
    if (name == "norm" && !all) continue;
    if (!torch::isfinite(tensor).all().item<bool>()) {
      fail("{}: the network's output there is not finite (NaN or infinite)", name);
    }
    maps.add(name, nn::from_torch(tensor));
  }
  return maps;
}

std::vector<float> Network::logits(std::span<const float> images, std::int64_t n, ImageSize size) const {
  const torch::NoGradGuard no_grad;
  const torch::Tensor input = implementation_->forward_input(images, n, size);
  return nn::from_torch(implementation_->model->forward(input).to(torch::kFloat32)).values<float>();
}

std::vector<StateMaps> Network::states(std::span<const float> images, std::int64_t n, ImageSize size) const {
  std::vector<StateMaps> maps;
  for (const nn::BlockStates& block :
       implementation_->model->record_states(implementation_->forward_input(images, n, size))) {
    maps.push_back({block.name, nn::from_torch(block.before.to(torch::kFloat32)),
                    nn::from_torch(block.after.to(torch::kFloat32))});
  }
  return maps;
}

}  // namespace spatialmamba::cli
