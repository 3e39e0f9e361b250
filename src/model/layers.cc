// The network written down once, layer by layer: what its tensors are called, how large they are and what
// they cost. State dictionaries, parameter counts and FLOPs are all read off this list.
#include <cstddef>
#include <utility>

#include "base/error.h"
#include "spatialmamba/architecture.h"

namespace spatialmamba {
namespace {

constexpr std::int64_t kMaxSide = 1 << 14;
constexpr std::int64_t kNormFlops = 5;  ///< per element
constexpr std::int64_t kScanFlops = 7;  ///< per token, channel and state
constexpr std::int64_t kTaps = 9;       ///< of a 3x3 kernel
constexpr std::int64_t kFusionKernels = 3;

/// The layers in the order of computation, the tensors in that of the state dictionary.
struct Network {
  std::vector<LayerCost> layers;
  std::vector<TensorSpec> tensors;
};

std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) fail("the model is too large to be counted");
  return sum;
}

/// Appends layers while it keeps track of the size of the feature map.
class Walk {
 public:
  Walk(const Architecture& architecture, std::int64_t height, std::int64_t width)
      : architecture_(architecture), height_(height), width_(width) {}

  Network run() {
    stem();
    std::int64_t index = 0;
    for (const std::int64_t dim : architecture_.dims) {
      stage(index, dim);
      ++index;
    }
    layer_norm("norm", architecture_.dims.back());
    height_ = 1;
    width_ = 1;
    linear("head", architecture_.dims.back(), architecture_.num_classes, true);
    return std::move(network_);
  }

 private:
  void stem() {
    const std::int64_t dim = architecture_.dims.front();
    const std::int64_t half = dim / 2;
    halve();
    conv_norm("patch_embed.conv1", architecture_.in_channels, half, 3);
    conv_norm("patch_embed.conv2.0", half, half, 3);
    conv_norm("patch_embed.conv2.1", half, half, 3);
    halve();
    conv_norm("patch_embed.conv3.0", half, 4 * dim, 3);
    conv_norm("patch_embed.conv3.1", 4 * dim, dim, 1);
  }

  void stage(std::int64_t index, std::int64_t dim) {
    const std::string name = fmt::format("layers.{}", index);
    const auto i = static_cast<std::size_t>(index);
    for (std::int64_t j = 0; j < architecture_.depths[i]; ++j)
      block(fmt::format("{}.blocks.{}", name, j), dim);
    if (i + 1 < architecture_.dims.size())
      downsampling(name + ".downsample.conv", dim, architecture_.dims[i + 1]);
  }

  void block(const std::string& name, std::int64_t dim) {
    depthwise(name + ".cpe1", dim);
    layer_norm(name + ".ln_1", dim);
    ssm(name + ".self_attention", dim);
    depthwise(name + ".cpe2", dim);
    layer_norm(name + ".ln_2", dim);
    linear(name + ".mlp.fc1", dim, kMlpRatio * dim, true);
    linear(name + ".mlp.fc2", kMlpRatio * dim, dim, true);
  }

  /// StructureAwareSSM. PyTorch lists the tensors of the module itself before those of its children.
  void ssm(const std::string& name, std::int64_t dim) {
    own_end_ = static_cast<std::ptrdiff_t>(network_.tensors.size());
    const std::int64_t inner = kExpand * dim;
    const std::int64_t rank = dt_rank(dim);
    linear(name + ".in_proj", dim, 2 * inner, false);
    depthwise(name + ".conv2d", inner);
    own(name, "x_proj", "matmul", rank + 2, {inner, rank + 2}, {{"x_proj_weight", {rank + 2, inner}}});
    own(name, "dt_projs", "matmul", inner, {rank, inner},
        {{"dt_projs_weight", {inner, rank}}, {"dt_projs_bias", {inner}}});
    own(name, "scan", "selective_scan", inner, {kScanFlops, inner}, {{"A_logs", {inner, 1}}});
    fusion(name + ".state_fusion", inner);
    own(name, "skip", "skip", inner, {0}, {{"Ds", {inner}}});
    layer_norm(name + ".out_norm", inner);
    linear(name + ".out_proj", inner, dim, false);
  }

  void downsampling(const std::string& name, std::int64_t dim, std::int64_t next) {
    conv(name + ".0.conv", dim, 8 * dim, 1, true);
    halve();
    depthwise(name + ".1.conv", 8 * dim);
    conv(name + ".2.conv", 8 * dim, next, 1, true);
    batch_norm(name + ".2.norm", next);
  }

  /// A layer whose tensors belong to `owner` itself; the product of `per_token` is the FLOPs of one token.
  void own(const std::string& owner, const std::string& name, const std::string& operation,
           std::int64_t channels, Shape per_token,
           const std::vector<std::pair<std::string, Shape>>& tensors) {
    LayerCost& layer = add(owner + "." + name, operation, channels, std::move(per_token));
    for (const auto& [tensor, shape] : tensors) {
      layer.parameters = checked_add(layer.parameters, element_count(shape));
      network_.tensors.insert(network_.tensors.begin() + own_end_,
                              {owner + "." + tensor, shape, true, DType::f32});
      ++own_end_;
    }
  }

  void fusion(const std::string& name, std::int64_t channels) {
    LayerCost& layer = add(name, "conv", channels, {kFusionKernels * kTaps, channels});
    for (const char* kernel : {"kernel_3", "kernel_3_1", "kernel_3_2"}) {
      parameter(layer, name + "." + kernel, {channels, 1, 3, 3});
    }
    parameter(layer, name + ".alpha", {kFusionKernels});
  }

  void conv_norm(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t size) {
    conv(name + ".conv", in, out, size, false);
    batch_norm(name + ".norm", out);
  }

  void conv(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t size, bool bias) {
    weighted(add(name, "conv", out, {size * size, in, out}), {out, in, size, size}, bias);
  }

  void depthwise(const std::string& name, std::int64_t channels) {
    weighted(add(name, "conv", channels, {kTaps, channels}), {channels, 1, 3, 3}, true);
  }

  void linear(const std::string& name, std::int64_t in, std::int64_t out, bool bias) {
    weighted(add(name, "linear", out, {in, out}), {out, in}, bias);
  }

  void layer_norm(const std::string& name, std::int64_t channels) {
    weighted(add(name, "layer_norm", channels, {kNormFlops, channels}), {channels}, true);
  }

  void batch_norm(const std::string& name, std::int64_t channels) {
    LayerCost& layer = add(name, "batch_norm", channels, {kNormFlops, channels});
    weighted(layer, {channels}, true);
    network_.tensors.push_back({name + ".running_mean", {channels}, false, DType::f32});
    network_.tensors.push_back({name + ".running_var", {channels}, false, DType::f32});
    network_.tensors.push_back({name + ".num_batches_tracked", {}, false, DType::i64});
  }

  LayerCost& add(std::string name, std::string operation, std::int64_t channels, Shape per_token) {
    per_token.push_back(height_);
    per_token.push_back(width_);
    network_.layers.push_back(
        {std::move(name), std::move(operation), {height_, width_, channels}, 0, element_count(per_token)});
    return network_.layers.back();
  }

  void parameter(LayerCost& layer, std::string name, Shape shape) {
    layer.parameters = checked_add(layer.parameters, element_count(shape));
    network_.tensors.push_back({std::move(name), std::move(shape), true, DType::f32});
  }

  void weighted(LayerCost& layer, const Shape& shape, bool bias) {
    parameter(layer, layer.name + ".weight", shape);
    if (bias) parameter(layer, layer.name + ".bias", {shape[0]});
  }

  /// A 3x3 convolution with stride 2 and a border of 1.
  void halve() {
    height_ = (height_ + 1) / 2;
    width_ = (width_ + 1) / 2;
  }

  const Architecture& architecture_;
  std::int64_t height_;
  std::int64_t width_;
  Network network_;
  std::ptrdiff_t own_end_ = 0;
};

Network network_of(const Architecture& architecture, std::int64_t height, std::int64_t width) {
  validate(architecture);
  if (height < 1 || width < 1 || height > kMaxSide || width > kMaxSide) {
    fail_usage("the image size must be between 1x1 and {0}x{0}, not {1}x{2}", kMaxSide, height, width);
  }
  return Walk(architecture, height, width).run();
}

std::int64_t count(const std::vector<TensorSpec>& tensors, bool trainable) {
  std::int64_t total = 0;
  for (const TensorSpec& tensor : tensors) {
    if (tensor.trainable == trainable) total = checked_add(total, element_count(tensor.shape));
  }
  return total;
}

}  // namespace

std::vector<TensorSpec> tensor_specs(const Architecture& architecture) {
  return network_of(architecture, 1, 1).tensors;
}

std::int64_t count_parameters(const Architecture& architecture) {
  return count(tensor_specs(architecture), true);
}

std::int64_t count_buffers(const Architecture& architecture) {
  return count(tensor_specs(architecture), false);
}

std::vector<LayerCost> layer_costs(const Architecture& architecture, std::int64_t height,
                                   std::int64_t width) {
  return network_of(architecture, height, width).layers;
}

std::int64_t count_flops(const Architecture& architecture, std::int64_t height, std::int64_t width) {
  std::int64_t total = 0;
  for (const LayerCost& cost : layer_costs(architecture, height, width))
    total = checked_add(total, cost.flops);
  return total;
}

}  // namespace spatialmamba
