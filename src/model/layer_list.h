#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spatialmamba/architecture.h"

namespace spatialmamba {

/// Height and width of a feature map.
struct MapSize {
  std::int64_t height = 0;
  std::int64_t width = 0;

  /// After a 3x3 convolution with stride 2 and a border of 1.
  MapSize halved() const { return {(height + 1) / 2, (width + 1) / 2}; }
};

/// Sum; throws Error instead of overflowing.
std::int64_t checked_add(std::int64_t a, std::int64_t b);

/// A network as the list of its layers: the one place from which names, shapes, parameters and FLOPs are
/// read. Layers stand in the order of computation, tensors in that of the state dictionary. Each call appends
/// a layer whose output has the current size.
class LayerList {
 public:
  /// `batch_norm_flops` per element: 5, or 2 where the reference's tool counts a network in evaluation.
  explicit LayerList(MapSize size, std::int64_t batch_norm_flops)
      : size_(size), norm_flops_(batch_norm_flops) {}

  MapSize size() const { return size_; }
  void set_size(MapSize size) { size_ = size; }

  /// Dense convolution, size x size, keeping the map's size.
  void conv(const std::string& name, std::int64_t in, std::int64_t out, std::int64_t size, bool bias);
  void depthwise(const std::string& name, std::int64_t channels);
  void linear(const std::string& name, std::int64_t in, std::int64_t out, bool bias);
  void layer_norm(const std::string& name, std::int64_t channels);
  void batch_norm(const std::string& name, std::int64_t channels);

  /// A layer without tensors; FLOPs are the product of `per_token` times the map's size.
  LayerCost& add(std::string name, std::string operation, std::int64_t channels, Shape per_token);
  /// A tensor of `layer`.
  void parameter(LayerCost& layer, std::string name, Shape shape);
  /// The same, not behind the last tensor but before tensor `position`.
  void parameter_at(std::size_t position, LayerCost& layer, std::string name, Shape shape);

  const std::vector<LayerCost>& layers() const { return layers_; }
  const std::vector<TensorSpec>& tensors() const { return tensors_; }

 private:
  void weighted(LayerCost& layer, const Shape& shape, bool bias);

  MapSize size_;
  std::int64_t norm_flops_;
  std::vector<LayerCost> layers_;
  std::vector<TensorSpec> tensors_;
};

/// Appends the network of `architecture` with `prefix` before its names, and returns the size of each stage's
/// map (before its downsampling). The list starts at the size of the image.
std::vector<MapSize> append_network(LayerList& list, const Architecture& architecture,
                                    const std::string& prefix);

/// Throws UsageError unless an image of this size can be counted.
void require_image_size(std::int64_t height, std::int64_t width);

/// Sums over a list.
std::int64_t count_elements(const std::vector<TensorSpec>& tensors, bool trainable);
std::int64_t count_flops(const std::vector<LayerCost>& layers);

}  // namespace spatialmamba
