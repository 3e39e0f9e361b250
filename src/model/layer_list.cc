#include "model/layer_list.h"

#include <utility>

#include "base/error.h"

namespace spatialmamba {
namespace {

constexpr std::int64_t kMaxSide = 1 << 14;
constexpr std::int64_t kLayerNormFlops = 5;  ///< per element
constexpr std::int64_t kTaps = 9;            ///< of a 3x3 kernel

}  // namespace

std::int64_t checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) fail("the model is too large to be counted");
  return sum;
}

void LayerList::conv(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t size,
                     bool bias) {
  weighted(add(name, "conv", out, {size * size, in, out}), {out, in, size, size}, bias);
}

void LayerList::depthwise(const std::string& name, std::int64_t channels) {
  weighted(add(name, "conv", channels, {kTaps, channels}), {channels, 1, 3, 3}, true);
}

void LayerList::linear(const std::string& name, std::int64_t in, std::int64_t out, bool bias) {
  weighted(add(name, "linear", out, {in, out}), {out, in}, bias);
}

void LayerList::layer_norm(const std::string& name, std::int64_t channels) {
  weighted(add(name, "layer_norm", channels, {kLayerNormFlops, channels}), {channels}, true);
}

void LayerList::batch_norm(const std::string& name, std::int64_t channels) {
  weighted(add(name, "batch_norm", channels, {norm_flops_, channels}), {channels}, true);
  tensors_.push_back({name + ".running_mean", {channels}, false, DType::f32});
  tensors_.push_back({name + ".running_var", {channels}, false, DType::f32});
  tensors_.push_back({name + ".num_batches_tracked", {}, false, DType::i64});
}

LayerCost& LayerList::add(std::string name, std::string operation, std::int64_t channels, Shape per_token) {
  per_token.push_back(size_.height);
  per_token.push_back(size_.width);
  layers_.push_back({std::move(name),
                     std::move(operation),
                     {size_.height, size_.width, channels},
                     0,
                     element_count(per_token)});
  return layers_.back();
}

void LayerList::parameter(LayerCost& layer, std::string name, Shape shape) {
  parameter_at(tensors_.size(), layer, std::move(name), std::move(shape));
}

void LayerList::parameter_at(std::size_t position, LayerCost& layer, std::string name, Shape shape) {
  layer.parameters = checked_add(layer.parameters, element_count(shape));
  tensors_.insert(tensors_.begin() + static_cast<std::ptrdiff_t>(position),
                  {std::move(name), std::move(shape), true, DType::f32});
}

void LayerList::weighted(LayerCost& layer, const Shape& shape, bool bias) {
  parameter(layer, layer.name + ".weight", shape);
  if (bias) parameter(layer, layer.name + ".bias", {shape[0]});
}

void require_image_size(std::int64_t height, std::int64_t width) {
  if (height < 1 || width < 1 || height > kMaxSide || width > kMaxSide) {
    fail_usage("the image size must be between 1x1 and {0}x{0}, not {1}x{2}", kMaxSide, height, width);
  }
}

std::int64_t count_elements(const std::vector<TensorSpec>& tensors, bool trainable) {
  std::int64_t total = 0;
  for (const TensorSpec& tensor : tensors) {
    if (tensor.trainable == trainable) total = checked_add(total, element_count(tensor.shape));
  }
  return total;
}

std::int64_t count_flops(const std::vector<LayerCost>& layers) {
  std::int64_t total = 0;
  for (const LayerCost& layer : layers) total = checked_add(total, layer.flops);
  return total;
}

}  // namespace spatialmamba
