#include "spatialmamba/detector.h"

#include "base/error.h"
#include "model/inference.h"
#include "model/layer_list.h"

namespace spatialmamba {
namespace {

constexpr std::int64_t kBatchNormFlops = 2;  ///< per element: scale and shift of an evaluated network
constexpr std::string_view kDetector = "a Spatial-Mamba Mask R-CNN";

void neck(LayerList& list, const DetectorArchitecture& architecture, const std::vector<MapSize>& sizes) {
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    list.set_size(sizes[i]);
    list.conv(fmt::format("neck.lateral_convs.{}.conv", i), architecture.backbone.dims[i],
              architecture.channels, 1, true);
  }
  for (std::size_t i = 0; i + 1 < sizes.size(); ++i) {
    list.set_size(sizes[i]);
    list.add(fmt::format("neck.top_down.{}", i), "upsample_nearest2d", architecture.channels,
             {architecture.channels});
  }
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    list.set_size(sizes[i]);
    list.conv(fmt::format("neck.fpn_convs.{}.conv", i), architecture.channels, architecture.channels, 3,
              true);
  }
}

/// A convolution that runs once for every size, with the same tensors.
void shared_conv(LayerList& list, const std::string& name, std::int64_t in, std::int64_t out,
                 std::int64_t kernel, const std::vector<MapSize>& sizes) {
  list.set_size(sizes.front());
  list.conv(name, in, out, kernel, true);
  for (std::size_t i = 1; i < sizes.size(); ++i) {
    list.set_size(sizes[i]);
    list.add(fmt::format("{} (level {})", name, i), "conv", out, {kernel * kernel, in, out});
  }
}

void rpn_head(LayerList& list, const DetectorArchitecture& architecture, std::vector<MapSize> sizes) {
  sizes.push_back(sizes.back().halved());
  shared_conv(list, "rpn_head.rpn_conv", architecture.channels, architecture.rpn_channels, 3, sizes);
  shared_conv(list, "rpn_head.rpn_cls", architecture.rpn_channels, kAnchorShapes, 1, sizes);
  shared_conv(list, "rpn_head.rpn_reg", architecture.rpn_channels, 4 * kAnchorShapes, 1, sizes);
}

/// mmdetection registers the classifiers of the box head before its shared layers.
void box_head(LayerList& list, const DetectorArchitecture& architecture, std::int64_t proposals) {
  const std::string name = "roi_head.bbox_head.";
  const std::int64_t fc = architecture.fc_channels;
  list.set_size({proposals, 1});
  list.linear(name + "fc_cls", fc, architecture.num_classes + 1, true);
  list.linear(name + "fc_reg", fc, 4 * architecture.num_classes, true);
  list.linear(name + "shared_fcs.0", kBoxBins * kBoxBins * architecture.channels, fc, true);
  list.linear(name + "shared_fcs.1", fc, fc, true);
}

void mask_head(LayerList& list, const DetectorArchitecture& architecture, std::int64_t detections) {
  const std::string name = "roi_head.mask_head.";
  const std::int64_t channels = architecture.mask_channels;
  list.set_size({detections * kMaskBins, kMaskBins});
  for (std::int64_t i = 0; i < kMaskConvolutions; ++i) {
    list.conv(fmt::format("{}convs.{}.conv", name, i), i == 0 ? architecture.channels : channels, channels, 3,
              true);
  }
  // 2 x 2 with stride 2: every input is multiplied with the whole kernel.
  LayerCost& upsample = list.add(name + "upsample", "conv_transpose", channels, {4, channels, channels});
  list.parameter(upsample, name + "upsample.weight", {channels, channels, 2, 2});
  list.parameter(upsample, name + "upsample.bias", {channels});
  list.set_size({detections * kMaskSize, kMaskSize});
  list.conv(name + "conv_logits", channels, architecture.num_classes, 1, true);
}

LayerList network_of(const DetectorArchitecture& architecture, std::int64_t height, std::int64_t width,
                     const DetectorLoad& load) {
  validate(architecture);
  require_image_size(height, width);
  LayerList list({height, width}, kBatchNormFlops);
  const std::vector<MapSize> sizes = append_network(list, architecture.backbone, "backbone.");
  neck(list, architecture, sizes);
  rpn_head(list, architecture, sizes);
  box_head(list, architecture, load.proposals);
  mask_head(list, architecture, load.detections);
  return list;
}

}  // namespace

void validate(const DetectorArchitecture& architecture) {
  validate(architecture.backbone);
  if (!architecture.backbone.backbone) fail_usage("a detector needs a backbone, not a classifier");
  if (architecture.backbone.dims.size() != kPooledLevels) {
    fail_usage("the feature pyramid reads {} maps; {} has {} stages", kPooledLevels,
               architecture.backbone.variant, architecture.backbone.dims.size());
  }
  require_between("the number of classes", architecture.num_classes, 1, kMaxChannels);
  require_between("the channels of the pyramid", architecture.channels, 1, kMaxChannels);
  require_between("the channels of the region proposal network", architecture.rpn_channels, 1, kMaxChannels);
  require_between("the channels of the box head", architecture.fc_channels, 1, kMaxChannels);
  require_between("the channels of the mask head", architecture.mask_channels, 1, kMaxChannels);
}

DetectorArchitecture detector_of(std::string_view variant) {
  DetectorArchitecture architecture{.backbone = architecture_of(variant)};
  architecture.backbone.backbone = true;
  validate(architecture);
  return architecture;
}

std::vector<TensorSpec> tensor_specs(const DetectorArchitecture& architecture) {
  return network_of(architecture, kImageMultiple, kImageMultiple, {}).tensors();
}

DetectorArchitecture infer_detector(const TensorMap& tensors) {
  DetectorArchitecture architecture{.backbone = infer_backbone(tensors, "backbone.", kDetector)};
  architecture.num_classes = size_from(tensors, "roi_head.bbox_head.fc_cls.weight", 2, 0, kDetector) - 1;
  architecture.fc_channels = size_from(tensors, "roi_head.bbox_head.fc_cls.weight", 2, 1, kDetector);
  architecture.channels = size_from(tensors, "neck.lateral_convs.0.conv.weight", 4, 0, kDetector);
  architecture.rpn_channels = size_from(tensors, "rpn_head.rpn_conv.weight", 4, 0, kDetector);
  architecture.mask_channels = size_from(tensors, "roi_head.mask_head.convs.0.conv.weight", 4, 0, kDetector);
  validate_inferred(architecture, kDetector);
  return architecture;
}

DetectorArchitecture require_detector(const TensorMap& tensors, const std::string& source) {
  return require_fitting(tensors, source, infer_detector);
}

WeightsMismatch compare(const DetectorArchitecture& architecture, const TensorMap& tensors) {
  return compare(tensor_specs(architecture), architecture.backbone.variant, tensors);
}

std::int64_t count_parameters(const DetectorArchitecture& architecture) {
  return count_elements(tensor_specs(architecture), true);
}

std::vector<LayerCost> layer_costs(const DetectorArchitecture& architecture, std::int64_t height,
                                   std::int64_t width, const DetectorLoad& load) {
  return network_of(architecture, height, width, load).layers();
}

std::int64_t count_flops(const DetectorArchitecture& architecture, std::int64_t height, std::int64_t width,
                         const DetectorLoad& load) {
  return count_flops(layer_costs(architecture, height, width, load));
}

}  // namespace spatialmamba
