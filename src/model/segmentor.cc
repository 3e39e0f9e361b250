#include "spatialmamba/segmentor.h"

#include <algorithm>
#include <cstddef>

#include "base/error.h"
#include "model/inference.h"
#include "model/layer_list.h"

namespace spatialmamba {
namespace {

constexpr std::int64_t kFewestLevels = 2;
constexpr std::int64_t kResizeFlops = 4;     ///< per value, bilinear
constexpr std::int64_t kBatchNormFlops = 2;  ///< per element: scale and shift of an evaluated network
constexpr std::string_view kSegmentor = "a Spatial-Mamba UPerNet";

void conv_bn(LayerList& list, const std::string& name, std::int64_t in, std::int64_t out, std::int64_t size) {
  list.conv(name + ".conv", in, out, size, false);
  list.batch_norm(name + ".bn", out);
}

void resize(LayerList& list, const std::string& name, std::int64_t channels, MapSize size) {
  list.set_size(size);
  list.add(name, "upsample_bilinear2d", channels, {kResizeFlops, channels});
}

/// Appends UPerNet's decode head while it keeps the tensors in the order of the state dictionary, where the
/// classifier (`conv_seg`) comes first.
class DecodeHead {
 public:
  DecodeHead(LayerList& list, const SegmentorArchitecture& architecture, const std::vector<MapSize>& sizes)
      : list_(list), architecture_(architecture), sizes_(sizes), channels_(architecture.channels) {}

  void append() {
    const std::size_t front = list_.tensors().size();
    pyramid();
    laterals();
    const std::size_t levels = sizes_.size();
    for (std::size_t i = levels - 1; i > 0; --i) {
      resize(list_, fmt::format("decode_head.top_down.{}", i - 1), channels_, sizes_[i - 1]);
    }
    for (std::size_t i = 0; i + 1 < sizes_.size(); ++i) {
      list_.set_size(sizes_[i]);
      conv_bn(list_, fmt::format("decode_head.fpn_convs.{}", i), channels_, channels_, 3);
    }
    for (std::size_t i = 1; i < levels; ++i) {
      resize(list_, fmt::format("decode_head.fused.{}", i), channels_, sizes_[0]);
    }
    conv_bn(list_, "decode_head.fpn_bottleneck", static_cast<std::int64_t>(levels) * channels_, channels_, 3);
    LayerCost& classifier = list_.add("decode_head.conv_seg", "conv", architecture_.num_classes,
                                      {channels_, architecture_.num_classes});
    const std::int64_t classes = architecture_.num_classes;
    list_.parameter_at(front, classifier, "decode_head.conv_seg.weight", {classes, channels_, 1, 1});
    list_.parameter_at(front + 1, classifier, "decode_head.conv_seg.bias", {classes});
  }

 private:
  /// Pooled, convolved and resized; then all together.
  void pyramid() {
    const std::int64_t dim = architecture_.backbone.dims.back();
    const MapSize top = sizes_.back();
    for (std::size_t i = 0; i < architecture_.pools.size(); ++i) {
      const std::string name = fmt::format("decode_head.psp_modules.{}", i);
      list_.set_size(top);
      list_.add(name + ".0", "adaptive_avg_pool2d", dim, {dim});
      list_.set_size({architecture_.pools[i], architecture_.pools[i]});
      conv_bn(list_, name + ".1", dim, channels_, 1);
      resize(list_, name + ".resize", channels_, top);
    }
    const auto branches = static_cast<std::int64_t>(architecture_.pools.size());
    conv_bn(list_, "decode_head.bottleneck", dim + branches * channels_, channels_, 3);
  }

  void laterals() {
    for (std::size_t i = 0; i + 1 < sizes_.size(); ++i) {
      list_.set_size(sizes_[i]);
      conv_bn(list_, fmt::format("decode_head.lateral_convs.{}", i), architecture_.backbone.dims[i],
              channels_, 1);
    }
  }

  LayerList& list_;
  const SegmentorArchitecture& architecture_;
  const std::vector<MapSize>& sizes_;
  std::int64_t channels_;
};

LayerList network_of(const SegmentorArchitecture& architecture, std::int64_t height, std::int64_t width,
                     bool with_auxiliary) {
  validate(architecture);
  require_image_size(height, width);
  LayerList list({height, width}, kBatchNormFlops);
  const std::vector<MapSize> sizes = append_network(list, architecture.backbone, "backbone.");
  DecodeHead(list, architecture, sizes).append();
  if (with_auxiliary && architecture.auxiliary_channels > 0) {
    const auto level = static_cast<std::size_t>(architecture.auxiliary_level);
    list.set_size(sizes[level]);
    list.conv("auxiliary_head.conv_seg", architecture.auxiliary_channels, architecture.num_classes, 1, true);
    conv_bn(list, "auxiliary_head.convs.0", architecture.backbone.dims[level],
            architecture.auxiliary_channels, 3);
  }
  return list;
}

/// The auxiliary head's channels and level, where there is one.
void infer_auxiliary(const TensorMap& tensors, SegmentorArchitecture& architecture) {
  const std::string name = "auxiliary_head.convs.0.conv.weight";
  if (!tensors.contains(name)) {
    architecture.auxiliary_channels = 0;
    return;
  }
  architecture.auxiliary_channels = size_from(tensors, name, 4, 0, kSegmentor);
  const std::int64_t in = size_from(tensors, name, 4, 1, kSegmentor);
  const auto& dims = architecture.backbone.dims;
  const auto found = std::ranges::find(dims, in);
  if (found == dims.end()) fail("{} reads {} channels, expected those of one of the stages", name, in);
  architecture.auxiliary_level = found - dims.begin();
}

}  // namespace

void validate(const SegmentorArchitecture& architecture) {
  validate(architecture.backbone);
  if (!architecture.backbone.backbone) fail_usage("a segmentor needs a backbone, not a classifier");
  if (architecture.backbone.stages() < kFewestLevels) {
    fail_usage("UPerNet reads at least {} maps; {} has {} stages", kFewestLevels,
               architecture.backbone.variant, architecture.backbone.stages());
  }
  require_between("the number of classes", architecture.num_classes, 1, kMaxClasses);
  require_between("the channels of the decode head", architecture.channels, 1, kMaxChannels);
  require_between("the channels of the auxiliary head", architecture.auxiliary_channels, 0, kMaxChannels);
  require_between("the level of the auxiliary head", architecture.auxiliary_level, 0,
                  architecture.backbone.stages() - 1);
  require_between("the number of pooled maps", std::ssize(architecture.pools), 1, kMaxChannels);
  for (const std::int64_t side : architecture.pools)
    require_between("a pooled map's side", side, 1, kMaxChannels);
}

SegmentorArchitecture segmentor_of(std::string_view variant) {
  SegmentorArchitecture architecture{.backbone = architecture_of(variant)};
  architecture.backbone.backbone = true;
  architecture.auxiliary_level = architecture.backbone.stages() - 2;
  validate(architecture);
  return architecture;
}

std::vector<TensorSpec> tensor_specs(const SegmentorArchitecture& architecture) {
  return network_of(architecture, 1, 1, true).tensors();
}

SegmentorArchitecture infer_segmentor(const TensorMap& tensors) {
  SegmentorArchitecture architecture{.backbone = infer_backbone(tensors, "backbone.", kSegmentor)};
  const std::string classifier = "decode_head.conv_seg.weight";
  architecture.num_classes = size_from(tensors, classifier, 4, 0, kSegmentor);
  architecture.channels = size_from(tensors, classifier, 4, 1, kSegmentor);
  infer_auxiliary(tensors, architecture);
  validate_inferred(architecture, kSegmentor);
  return architecture;
}

SegmentorArchitecture require_segmentor(const TensorMap& tensors, const std::string& source) {
  return require_fitting(tensors, source, infer_segmentor);
}

WeightsMismatch compare(const SegmentorArchitecture& architecture, const TensorMap& tensors) {
  return compare(tensor_specs(architecture), architecture.backbone.variant, tensors);
}

std::int64_t count_parameters(const SegmentorArchitecture& architecture) {
  return count_elements(tensor_specs(architecture), true);
}

std::vector<LayerCost> layer_costs(const SegmentorArchitecture& architecture, std::int64_t height,
                                   std::int64_t width) {
  return network_of(architecture, height, width, false).layers();
}

std::int64_t count_flops(const SegmentorArchitecture& architecture, std::int64_t height, std::int64_t width) {
  return count_flops(layer_costs(architecture, height, width));
}

}  // namespace spatialmamba
