#include "nn/detector.h"

#include <ATen/CPUGeneratorImpl.h>

#include <cmath>

#include "base/error.h"
#include "nn/functions/roi_pool.h"
#include "nn/initialise.h"

namespace spatialmamba::nn {
namespace {

/// A level's values of one image as single precision in a row.
torch::Tensor of_image(const torch::Tensor& map, std::int64_t image) {
  return map[image].detach().to(torch::kFloat32).contiguous();
}

std::span<const float> values_of(const torch::Tensor& tensor) {
  return {tensor.const_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())};
}

std::span<const float> rows_of_image(const torch::Tensor& table, std::int64_t first, std::int64_t count) {
  const auto width = static_cast<std::size_t>(table.size(1));
  return values_of(table).subspan(static_cast<std::size_t>(first) * width,
                                  static_cast<std::size_t>(count) * width);
}

double fan_in(const torch::Tensor& weight) {
  return static_cast<double>(weight.numel()) / static_cast<double>(weight.size(0));
}

double fan_out(const torch::Tensor& weight) {
  return static_cast<double>(weight.numel()) / static_cast<double>(weight.size(1));
}

void fill_head_tensor(const std::string& name, torch::Tensor tensor, const at::Generator& generator) {
  constexpr double kStd = 0.01;
  constexpr double kRegressionStd = 0.001;
  if (tensor.dim() == 1) {
    tensor.zero_();
  } else if (name.ends_with("fc_reg.weight")) {
    tensor.normal_(0.0, kRegressionStd, generator);
  } else if (name.starts_with("rpn_") || name.ends_with("fc_cls.weight")) {
    tensor.normal_(0.0, kStd, generator);
  } else if (name.find("mask_head") != std::string::npos) {
    tensor.normal_(0.0, std::sqrt(2.0 / fan_out(tensor)), generator);
  } else {
    const double bound = std::sqrt(6.0 / (fan_in(tensor) + fan_out(tensor)));
    tensor.uniform_(-bound, bound, generator);
  }
}

}  // namespace

std::vector<std::pair<std::string, torch::Tensor>> DetectorMaps::named() const {
  std::vector<std::pair<std::string, torch::Tensor>> maps;
  const auto add = [&](const char* name, std::size_t level, const torch::Tensor& map) {
    maps.emplace_back(fmt::format("{}.{}", name, level), map.permute({0, 3, 1, 2}));
  };
  for (std::size_t i = 0; i < backbone.size(); ++i) add("backbone", i, backbone[i]);
  for (std::size_t i = 0; i < pyramid.size(); ++i) add("fpn", i, pyramid[i]);
  for (std::size_t i = 0; i < rpn.size(); ++i) add("rpn_cls", i, rpn[i].scores);
  for (std::size_t i = 0; i < rpn.size(); ++i) add("rpn_reg", i, rpn[i].deltas);
  return maps;
}

DetectorImpl::DetectorImpl(DetectorArchitecture architecture, const ModelOptions& options)
    : architecture_(std::move(architecture)) {
  validate(architecture_);
  backbone_ = register_module("backbone", SpatialMamba(architecture_.backbone, options));
  const ComputePtr& compute = backbone_->compute();
  const std::int64_t channels = architecture_.channels;
  neck_ = register_module("neck", FeaturePyramid(architecture_.backbone.dims, channels, compute));
  rpn_head_ =
      register_module("rpn_head", RpnHead(channels, architecture_.rpn_channels, kAnchorShapes, compute));
  bbox_head_ = BoxHead(channels, architecture_.fc_channels, architecture_.num_classes, compute);
  mask_head_ = MaskHead(channels, architecture_.mask_channels, architecture_.num_classes, compute);
  torch::nn::ModuleDict roi_head;
  roi_head->update(std::vector<std::pair<std::string, std::shared_ptr<torch::nn::Module>>>{
      {"bbox_head", bbox_head_.ptr()}, {"mask_head", mask_head_.ptr()}});
  register_module("roi_head", roi_head);
}

torch::ScalarType DetectorImpl::element_type() const {
  return parameters().front().scalar_type();
}

DetectorMaps DetectorImpl::forward_maps(const torch::Tensor& images) {
  if (images.dim() == 4 && (images.size(2) % kImageMultiple != 0 || images.size(3) % kImageMultiple != 0)) {
    fail("a detector's images have sides that are multiples of {}, not {}x{}", kImageMultiple, images.size(2),
         images.size(3));
  }
  DetectorMaps maps;
  maps.backbone = backbone_->forward_maps(images);
  maps.pyramid = neck_(maps.backbone);
  for (const torch::Tensor& level : maps.pyramid) maps.rpn.push_back(rpn_head_(level));
  return maps;
}

std::vector<detection::Proposals> DetectorImpl::propose(const DetectorMaps& maps,
                                                        const std::vector<detection::Extent>& images,
                                                        const detection::ProposalSettings& settings) const {
  const detection::AnchorGenerator generator;
  std::vector<std::vector<detection::Box>> anchors;
  std::int64_t stride = kPatchStride;
  for (const RpnMap& level : maps.rpn) {
    anchors.push_back(generator.grid(stride, level.scores.size(1), level.scores.size(2)));
    stride *= 2;
  }
  std::vector<detection::Proposals> proposals;
  for (std::size_t image = 0; image < images.size(); ++image) {
    std::vector<torch::Tensor> held;
    std::vector<detection::ProposalLevel> levels;
    for (std::size_t i = 0; i < maps.rpn.size(); ++i) {
      const auto row = static_cast<std::int64_t>(image);
      const torch::Tensor scores = held.emplace_back(of_image(maps.rpn[i].scores, row));
      const torch::Tensor deltas = held.emplace_back(of_image(maps.rpn[i].deltas, row));
      levels.push_back({values_of(scores), values_of(deltas), anchors[i]});
    }
    proposals.push_back(detection::propose(levels, images[image], settings, backbone_->isa()));
  }
  return proposals;
}

torch::Tensor DetectorImpl::pool_boxes(const DetectorMaps& maps, const torch::Tensor& rois) const {
  return roi_pool(maps.pyramid, rois, kBoxBins, backbone_->compute());
}

BoxAnswer DetectorImpl::classify(const DetectorMaps& maps, const torch::Tensor& rois) {
  return bbox_head_(pool_boxes(maps, rois));
}

torch::Tensor DetectorImpl::outline(const DetectorMaps& maps, const torch::Tensor& rois) {
  return mask_head_(roi_pool(maps.pyramid, rois, kMaskBins, backbone_->compute()));
}

torch::Tensor roi_table(const std::vector<std::vector<detection::Box>>& boxes, torch::ScalarType type) {
  std::vector<float> table;
  for (std::size_t image = 0; image < boxes.size(); ++image) {
    for (const detection::Box& box : boxes[image]) {
      table.insert(table.end(), {static_cast<float>(image), box.x1, box.y1, box.x2, box.y2});
    }
  }
  return torch::tensor(table, torch::kFloat32).view({-1, 5}).to(type);
}

std::vector<ImageDetections> run_detector(DetectorImpl& model, const torch::Tensor& images,
                                          const std::vector<detection::Extent>& extents,
                                          const detection::ProposalSettings& proposal_settings,
                                          const detection::DetectionSettings& settings) {
  const torch::NoGradGuard no_grad;
  model.eval();
  const DetectorMaps maps = model.forward_maps(images);
  const std::vector<detection::Proposals> proposals = model.propose(maps, extents, proposal_settings);
  std::vector<std::vector<detection::Box>> boxes;
  for (const detection::Proposals& image : proposals) boxes.push_back(image.boxes);
  const torch::ScalarType type = model.element_type();
  const BoxAnswer answer = model.classify(maps, roi_table(boxes, type));
  const torch::Tensor scores = answer.scores.to(torch::kFloat32).contiguous();
  const torch::Tensor deltas = answer.deltas.to(torch::kFloat32).contiguous();

  std::vector<ImageDetections> results;
  std::int64_t first = 0;
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const std::int64_t count = std::ssize(boxes[i]);
    ImageDetections& result = results.emplace_back();
    result.found =
        detection::detect(boxes[i], rows_of_image(scores, first, count), rows_of_image(deltas, first, count),
                          model.architecture().num_classes, extents[i], settings, model.backbone()->isa());
    first += count;
    boxes[i] = result.found.boxes;
  }
  std::vector<std::int64_t> labels;
  for (const ImageDetections& result : results) {
    labels.insert(labels.end(), result.found.labels.begin(), result.found.labels.end());
  }
  if (labels.empty()) return results;
  const torch::Tensor chosen =
      torch::tensor(labels).view({-1, 1, 1, 1}).expand({-1, kMaskSize, kMaskSize, 1});
  const torch::Tensor masks =
      model.outline(maps, roi_table(boxes, type)).gather(3, chosen).to(torch::kFloat32).contiguous();
  const float* mask = masks.const_data_ptr<float>();
  for (ImageDetections& result : results) {
    const std::int64_t size = result.found.size() * kMaskSize * kMaskSize;
    result.masks.assign(mask, mask + size);
    mask += size;
  }
  return results;
}

void initialise(DetectorImpl& model, std::uint64_t seed) {
  initialise(*model.backbone(), seed);
  const torch::NoGradGuard no_grad;
  // A stream of its own, whatever the backbone drew.
  const at::Generator generator = at::make_generator<at::CPUGeneratorImpl>(seed + 1);
  for (auto& entry : model.named_parameters()) {
    if (!entry.key().starts_with("backbone.")) fill_head_tensor(entry.key(), entry.value(), generator);
  }
}

}  // namespace spatialmamba::nn
