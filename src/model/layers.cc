// The network written down once, layer by layer: what its tensors are called, how large they are and what
// they cost. State dictionaries, parameter counts and FLOPs are all read off this list.
#include <cstddef>
#include <utility>

#include <fmt/format.h>

#include "model/layer_list.h"
#include "spatialmamba/architecture.h"

namespace spatialmamba {
namespace {

constexpr std::int64_t kScanFlops = 7;  ///< per token, channel and state
constexpr std::int64_t kTaps = 9;       ///< of a 3x3 kernel
constexpr std::int64_t kFusionKernels = 3;
constexpr std::int64_t kBatchNormFlops = 5;

/// Appends the layers of one network while it keeps track of the size of the feature map.
class Walk {
 public:
  Walk(LayerList& list, const Architecture& architecture, const std::string& prefix)
      : list_(list), architecture_(architecture), prefix_(prefix) {}

  std::vector<MapSize> run() {
    stem();
    std::int64_t index = 0;
    for (const std::int64_t dim : architecture_.dims) stage(index++, dim);
    if (architecture_.backbone) {
      output_norms();
    } else {
      list_.layer_norm(prefix_ + "norm", architecture_.dims.back());
      list_.set_size({1, 1});
      list_.linear(prefix_ + "head", architecture_.dims.back(), architecture_.num_classes, true);
    }
    return sizes_;
  }

 private:
  void stem() {
    const std::int64_t dim = architecture_.dims.front();
    const std::int64_t half = dim / 2;
    const std::string name = prefix_ + "patch_embed.";
    halve();
    conv_norm(name + "conv1", architecture_.in_channels, half, 3);
    conv_norm(name + "conv2.0", half, half, 3);
    conv_norm(name + "conv2.1", half, half, 3);
    halve();
    conv_norm(name + "conv3.0", half, 4 * dim, 3);
    conv_norm(name + "conv3.1", 4 * dim, dim, 1);
  }

  void stage(std::int64_t index, std::int64_t dim) {
    const std::string name = fmt::format("{}layers.{}", prefix_, index);
    const auto i = static_cast<std::size_t>(index);
    for (std::int64_t j = 0; j < architecture_.depths[i]; ++j)
      block(fmt::format("{}.blocks.{}", name, j), dim);
    sizes_.push_back(list_.size());
    if (i + 1 < architecture_.dims.size())
      downsampling(name + ".downsample.conv", dim, architecture_.dims[i + 1]);
  }

  /// The state dictionary lists them behind all stages.
  void output_norms() {
    for (std::size_t i = 0; i < sizes_.size(); ++i) {
      list_.set_size(sizes_[i]);
      list_.layer_norm(fmt::format("{}outnorm{}", prefix_, i), architecture_.dims[i]);
    }
  }

  void block(const std::string& name, std::int64_t dim) {
    list_.depthwise(name + ".cpe1", dim);
    list_.layer_norm(name + ".ln_1", dim);
    ssm(name + ".self_attention", dim);
    list_.depthwise(name + ".cpe2", dim);
    list_.layer_norm(name + ".ln_2", dim);
    list_.linear(name + ".mlp.fc1", dim, kMlpRatio * dim, true);
    list_.linear(name + ".mlp.fc2", kMlpRatio * dim, dim, true);
  }

  /// StructureAwareSSM. PyTorch lists the tensors of the module itself before those of its children.
  void ssm(const std::string& name, std::int64_t dim) {
    own_end_ = list_.tensors().size();
    const std::int64_t inner = kExpand * dim;
    const std::int64_t rank = dt_rank(dim);
    list_.linear(name + ".in_proj", dim, 2 * inner, false);
    list_.depthwise(name + ".conv2d", inner);
    own(name, "x_proj", "matmul", rank + 2, {inner, rank + 2}, {{"x_proj_weight", {rank + 2, inner}}});
    own(name, "dt_projs", "matmul", inner, {rank, inner},
        {{"dt_projs_weight", {inner, rank}}, {"dt_projs_bias", {inner}}});
    own(name, "scan", "selective_scan", inner, {kScanFlops, inner}, {{"A_logs", {inner, 1}}});
    fusion(name + ".state_fusion", inner);
    own(name, "skip", "skip", inner, {0}, {{"Ds", {inner}}});
    list_.layer_norm(name + ".out_norm", inner);
    list_.linear(name + ".out_proj", inner, dim, false);
  }

  void downsampling(const std::string& name, std::int64_t dim, std::int64_t next) {
    list_.conv(name + ".0.conv", dim, 8 * dim, 1, true);
    halve();
    list_.depthwise(name + ".1.conv", 8 * dim);
    list_.conv(name + ".2.conv", 8 * dim, next, 1, true);
    list_.batch_norm(name + ".2.norm", next);
  }

  /// A layer whose tensors belong to `owner` itself; the product of `per_token` is the FLOPs of one token.
  void own(const std::string& owner, const std::string& name, const std::string& operation,
           std::int64_t channels, Shape per_token,
           const std::vector<std::pair<std::string, Shape>>& tensors) {
    LayerCost& layer = list_.add(owner + "." + name, operation, channels, std::move(per_token));
    for (const auto& [tensor, shape] : tensors) {
      list_.parameter_at(own_end_, layer, owner + "." + tensor, shape);
      ++own_end_;
    }
  }

  void fusion(const std::string& name, std::int64_t channels) {
    LayerCost& layer = list_.add(name, "conv", channels, {kFusionKernels * kTaps, channels});
    for (const char* kernel : {"kernel_3", "kernel_3_1", "kernel_3_2"}) {
      list_.parameter(layer, name + "." + kernel, {channels, 1, 3, 3});
    }
    list_.parameter(layer, name + ".alpha", {kFusionKernels});
  }

  void conv_norm(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t size) {
    list_.conv(name + ".conv", in, out, size, false);
    list_.batch_norm(name + ".norm", out);
  }

  void halve() { list_.set_size(list_.size().halved()); }

  LayerList& list_;
  const Architecture& architecture_;
  const std::string& prefix_;
  std::vector<MapSize> sizes_;
  std::size_t own_end_ = 0;
};

LayerList network_of(const Architecture& architecture, std::int64_t height, std::int64_t width) {
  require_image_size(height, width);
  LayerList list({height, width}, kBatchNormFlops);
  append_network(list, architecture, "");
  return list;
}

}  // namespace

std::vector<MapSize> append_network(LayerList& list, const Architecture& architecture,
                                    const std::string& prefix) {
  validate(architecture);
  return Walk(list, architecture, prefix).run();
}

std::vector<TensorSpec> tensor_specs(const Architecture& architecture) {
  return network_of(architecture, 1, 1).tensors();
}

std::int64_t count_parameters(const Architecture& architecture) {
  return count_elements(tensor_specs(architecture), true);
}

std::int64_t count_buffers(const Architecture& architecture) {
  return count_elements(tensor_specs(architecture), false);
}

std::vector<LayerCost> layer_costs(const Architecture& architecture, std::int64_t height,
                                   std::int64_t width) {
  return network_of(architecture, height, width).layers();
}

std::int64_t count_flops(const Architecture& architecture, std::int64_t height, std::int64_t width) {
  return count_flops(layer_costs(architecture, height, width));
}

}  // namespace spatialmamba
