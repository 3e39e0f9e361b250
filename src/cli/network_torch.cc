// The network as LibTorch computes it.
#include <ATen/Parallel.h>
#include <torch/torch.h>

#include "base/error.h"
#include "cli/network_backend.h"
#include "nn/spatial_mamba.h"
#include "nn/state_dict.h"

namespace spatialmamba::cli {
namespace {

class TorchNetwork : public NetworkBackend {
 public:
  explicit TorchNetwork(nn::SpatialMamba model) : model_(std::move(model)) {}

  const Architecture& architecture() const override { return model_->architecture(); }

  TensorMap stages(const Tensor& images, bool all) const override {
    const torch::NoGradGuard no_grad;
    TensorMap maps;
    for (const auto& [name, tensor] : model_->forward_stages(nn::to_torch(images).to(type()), all).named()) {
      if (name == "norm" && !all) continue;
      if (!torch::isfinite(tensor).all().item<bool>()) {
        fail("{}: the network's output there is not finite (NaN or infinite)", name);
      }
      maps.add(name, nn::from_torch(tensor));
    }
    return maps;
  }

  std::vector<float> logits(std::span<const float> images, std::int64_t n, ImageSize size) const override {
    const torch::NoGradGuard no_grad;
    const torch::Tensor logits = model_->forward(input(images, n, size));
    return nn::from_torch(logits.to(torch::kFloat32)).values<float>();
  }

  std::vector<StateMaps> states(std::span<const float> images, std::int64_t n,
                                ImageSize size) const override {
    std::vector<StateMaps> maps;
    for (const nn::BlockStates& block : model_->record_states(input(images, n, size))) {
      maps.push_back({block.name, nn::from_torch(block.before.to(torch::kFloat32)),
                      nn::from_torch(block.after.to(torch::kFloat32))});
    }
    return maps;
  }

 private:
  torch::Dtype type() const { return model_->parameters().front().scalar_type(); }

  torch::Tensor input(std::span<const float> images, std::int64_t n, ImageSize size) const {
    // from_blob takes no const pointer; the tensor is only read.
    const torch::Tensor view =
        torch::from_blob(const_cast<float*>(images.data()),
                         {n, size.height, size.width, architecture().in_channels}, torch::kFloat32);
    return view.permute({0, 3, 1, 2}).to(type());
  }

  // A forward pass does not change the model, but LibTorch's interface does not say so.
  mutable nn::SpatialMamba model_;
};

void require_finite(const Weights& weights, const std::string& source) {
  for (const auto& [name, tensor] : weights.tensors) {
    const torch::Tensor values = nn::to_torch(tensor);
    if (values.is_floating_point() && !torch::isfinite(values).all().item<bool>()) {
      fail("{}: {} holds values that are not finite (NaN or infinite)", source, name);
    }
  }
}

}  // namespace

std::shared_ptr<NetworkBackend> open_torch_network(const Weights& weights, const std::string& source,
                                                   const NetworkOptions& options) {
  at::set_num_threads(options.threads);
  const Architecture architecture = require_architecture(weights.tensors, source);
  require_finite(weights, source);
  const nn::ModelOptions how{.precision = nn::precision_of(name_of(options.precision)),
                             .scan = scan_order_of(weights.metadata, source)};
  nn::SpatialMamba model(architecture, how);
  nn::load_weights(*model, weights.tensors, source);
  if (options.precision == Precision::fp64) model->to(torch::kFloat64);
  model->eval();
  return std::make_shared<TorchNetwork>(std::move(model));
}

}  // namespace spatialmamba::cli
