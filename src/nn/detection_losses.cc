#include "nn/detection_losses.h"

#include <algorithm>
#include <numeric>

#include "base/error.h"
#include "kernels/roi_align.h"
#include "nn/parallel.h"

namespace spatialmamba::nn {
namespace {

using detection::Assignment;
using detection::Box;
using detection::Sample;

/// Anchors of one level and where they stand.
struct AnchorLevel {
  std::vector<Box> boxes;
  std::int64_t stride = 0;
  std::int64_t height = 0;
  std::int64_t width = 0;
};

std::vector<AnchorLevel> anchors_of(const DetectorMaps& maps) {
  const detection::AnchorGenerator generator;
  std::vector<AnchorLevel> levels;
  std::int64_t stride = kPatchStride;
  for (const RpnMap& map : maps.rpn) {
    const std::int64_t height = map.scores.size(1);
    const std::int64_t width = map.scores.size(2);
    levels.push_back({generator.grid(stride, height, width), stride, height, width});
    stride *= 2;
  }
  return levels;
}

/// The anchors of all levels that one image reaches.
struct ReachedAnchors {
  std::vector<Box> boxes;
  std::vector<std::pair<std::size_t, std::int64_t>> places;  ///< level and row there
};

ReachedAnchors reached_anchors(const std::vector<AnchorLevel>& levels, const detection::Extent& padded) {
  const detection::AnchorGenerator generator;
  ReachedAnchors reached;
  for (std::size_t i = 0; i < levels.size(); ++i) {
    const auto flags = generator.reached(levels[i].stride, levels[i].height, levels[i].width, padded);
    for (std::size_t row = 0; row < flags.size(); ++row) {
      if (flags[row] == 0) continue;
      reached.boxes.push_back(levels[i].boxes[row]);
      reached.places.emplace_back(i, static_cast<std::int64_t>(row));
    }
  }
  return reached;
}

/// What one level of the region proposal network is compared with: rows of its flattened answer for the whole
/// batch.
struct RpnGoal {
  std::vector<std::int64_t> rows;
  std::vector<float> labels;  ///< of those rows: 1 object, 0 background
  std::vector<std::int64_t> positives;
  std::vector<float> deltas;  ///< of those
};

std::vector<std::int64_t> objects_of(const std::vector<std::int64_t>& rows, const Assignment& assignment) {
  std::vector<std::int64_t> objects;
  for (const std::int64_t row : rows)
    objects.push_back(assignment.objects[static_cast<std::size_t>(row)] - 1);
  return objects;
}

void add_rpn_goals(const ReachedAnchors& anchors, const DetectionTarget& target,
                   const DetectionSample& sample, std::size_t image, const std::vector<AnchorLevel>& levels,
                   std::vector<RpnGoal>& goals) {
  const auto place = [&](std::int64_t row) {
    const auto [level, at] = anchors.places[static_cast<std::size_t>(row)];
    return std::pair(level, static_cast<std::int64_t>(image) * std::ssize(levels[level].boxes) + at);
  };
  for (std::size_t i = 0; i < sample.rpn.positive.size(); ++i) {
    const auto [level, row] = place(sample.rpn.positive[i]);
    const Box& object = target.boxes[static_cast<std::size_t>(sample.rpn_objects[i])];
    const auto deltas =
        detection::BoxCoder{}.encode(anchors.boxes[static_cast<std::size_t>(sample.rpn.positive[i])], object);
    goals[level].rows.push_back(row);
    goals[level].labels.push_back(1.0F);
    goals[level].positives.push_back(row);
    goals[level].deltas.insert(goals[level].deltas.end(), deltas.begin(), deltas.end());
  }
  for (const std::int64_t negative : sample.rpn.negative) {
    const auto [level, row] = place(negative);
    goals[level].rows.push_back(row);
    goals[level].labels.push_back(0.0F);
  }
}

torch::Tensor as_tensor(const std::vector<float>& values, torch::ScalarType type) {
  return torch::tensor(values, torch::kFloat32).to(type);
}

torch::Tensor as_index(const std::vector<std::int64_t>& rows) {
  return torch::tensor(rows, torch::kInt64);
}

torch::Tensor l1_sum(const torch::Tensor& answer, const std::vector<float>& wanted) {
  return (answer - as_tensor(wanted, answer.scalar_type()).view_as(answer)).abs().sum();
}

/// mmdetection counts at least one box of each kind per image.
std::int64_t counted(const Sample& sample) {
  return std::max<std::int64_t>(std::ssize(sample.positive), 1) +
         std::max<std::int64_t>(std::ssize(sample.negative), 1);
}

void add_rpn_losses(const DetectorMaps& maps, const std::vector<RpnGoal>& goals, double count,
                    DetectionLosses& out) {
  for (std::size_t i = 0; i < goals.size(); ++i) {
    const torch::Tensor scores = maps.rpn[i].scores.reshape({-1}).index_select(0, as_index(goals[i].rows));
    const torch::Tensor deltas =
        maps.rpn[i].deltas.reshape({-1, 4}).index_select(0, as_index(goals[i].positives));
    const torch::Tensor labels = as_tensor(goals[i].labels, scores.scalar_type());
    out.rpn_cls.push_back(at::binary_cross_entropy_with_logits(scores, labels, {}, {}, at::Reduction::Sum) /
                          count);
    out.rpn_bbox.push_back(l1_sum(deltas, goals[i].deltas) / count);
  }
}

/// Samples the anchors of every image and compares the proposal network's answer with them.
void train_rpn(const DetectorMaps& maps, const std::vector<DetectionTarget>& targets,
               const DetectionTraining& training, SampleChooser& chooser, DetectionLosses& out) {
  const std::vector<AnchorLevel> levels = anchors_of(maps);
  std::vector<RpnGoal> goals(levels.size());
  std::int64_t count = 0;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const ReachedAnchors anchors = reached_anchors(levels, targets[i].padded);
    const Assignment assignment =
        detection::assign(training.rpn_assigner, anchors.boxes, targets[i].boxes, targets[i].ignored);
    DetectionSample& sample = out.samples[i];
    sample.rpn = chooser.rpn(i, training.rpn_sampler, assignment);
    sample.rpn_objects = objects_of(sample.rpn.positive, assignment);
    count += counted(sample.rpn);
    add_rpn_goals(anchors, targets[i], sample, i, levels, goals);
  }
  add_rpn_losses(maps, goals, static_cast<double>(count), out);
}

/// The heads learn from proposals and from the objects themselves, which stand in front.
void sample_heads(const DetectionTarget& target, const std::vector<Box>& proposals,
                  const DetectionTraining& training, std::size_t image, SampleChooser& chooser,
                  DetectionSample& sample) {
  Assignment assignment = detection::assign(training.box_assigner, proposals, target.boxes, target.ignored);
  std::vector<Box> boxes = target.boxes;
  boxes.insert(boxes.end(), proposals.begin(), proposals.end());
  std::vector<std::int64_t> own(target.boxes.size());
  std::iota(own.begin(), own.end(), 1);
  assignment.objects.insert(assignment.objects.begin(), own.begin(), own.end());
  assignment.overlaps.insert(assignment.overlaps.begin(), own.size(), 1.0F);
  sample.heads = chooser.heads(image, training.box_sampler, assignment);
  sample.head_objects = objects_of(sample.heads.positive, assignment);
  for (const std::int64_t row : sample.heads.positive)
    sample.positives.push_back(boxes[static_cast<std::size_t>(row)]);
  for (const std::int64_t row : sample.heads.negative)
    sample.negatives.push_back(boxes[static_cast<std::size_t>(row)]);
}

/// What the box head is compared with, box by box.
struct BoxGoal {
  std::vector<std::int64_t> labels;
  std::vector<std::int64_t> positives;  ///< rows
  std::vector<std::int64_t> classes;    ///< of those
  std::vector<float> deltas;            ///< of those
};

void add_box_goals(const DetectionTarget& target, const DetectionSample& sample, std::int64_t background,
                   BoxGoal& goal) {
  for (std::size_t i = 0; i < sample.positives.size(); ++i) {
    const auto object = static_cast<std::size_t>(sample.head_objects[i]);
    const auto deltas = detection::kBoxHeadCoder.encode(sample.positives[i], target.boxes[object]);
    goal.positives.push_back(std::ssize(goal.labels));
    goal.classes.push_back(target.labels[object]);
    goal.labels.push_back(target.labels[object]);
    goal.deltas.insert(goal.deltas.end(), deltas.begin(), deltas.end());
  }
  goal.labels.insert(goal.labels.end(), sample.negatives.size(), background);
}

void train_boxes(DetectorImpl& model, const DetectorMaps& maps, const std::vector<DetectionTarget>& targets,
                 DetectionLosses& out) {
  BoxGoal goal;
  std::vector<std::vector<Box>> boxes;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const DetectionSample& sample = out.samples[i];
    add_box_goals(targets[i], sample, model.architecture().num_classes, goal);
    std::vector<Box>& all = boxes.emplace_back(sample.positives);
    all.insert(all.end(), sample.negatives.begin(), sample.negatives.end());
  }
  const BoxAnswer answer = model.classify(maps, roi_table(boxes, model.element_type()));
  const torch::Tensor labels = as_index(goal.labels);
  const auto count = static_cast<double>(std::max<std::int64_t>(labels.numel(), 1));
  out.cls = at::cross_entropy_loss(answer.scores, labels, {}, at::Reduction::Sum) / count;
  const torch::Tensor positives = as_index(goal.positives);
  const torch::Tensor deltas =
      answer.deltas.view({labels.numel(), -1, 4}).index({positives, as_index(goal.classes)});
  out.bbox = l1_sum(deltas, goal.deltas) / count;
  out.accuracy = 100.0 * (answer.scores.argmax(1) == labels).to(torch::kFloat64).sum().item<double>() / count;
}

void train_masks(DetectorImpl& model, const DetectorMaps& maps, const std::vector<DetectionTarget>& targets,
                 DetectionLosses& out) {
  std::vector<std::vector<Box>> boxes;
  std::vector<torch::Tensor> wanted;
  std::vector<std::int64_t> labels;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    const DetectionSample& sample = out.samples[i];
    boxes.push_back(sample.positives);
    wanted.push_back(
        mask_targets(targets[i], sample.positives, sample.head_objects, model.backbone()->isa()));
    for (const std::int64_t object : sample.head_objects) {
      labels.push_back(targets[i].labels[static_cast<std::size_t>(object)]);
    }
  }
  const torch::ScalarType type = model.element_type();
  if (labels.empty()) {
    out.mask = torch::zeros({}, type);
    return;
  }
  const torch::Tensor logits = model.outline(maps, roi_table(boxes, type));
  const torch::Tensor chosen = as_index(labels).view({-1, 1, 1, 1}).expand({-1, kMaskSize, kMaskSize, 1});
  out.mask =
      at::binary_cross_entropy_with_logits(logits.gather(3, chosen).squeeze(3), torch::cat(wanted).to(type));
}

double item(const std::vector<torch::Tensor>& parts) {
  double sum = 0.0;
  for (const torch::Tensor& part : parts) sum += part.item<double>();
  return sum;
}

/// Proposals are fixed boxes to the heads: no gradient flows through them.
std::vector<detection::Proposals> fixed_proposals(const DetectorImpl& model, const DetectorMaps& maps,
                                                  const std::vector<DetectionTarget>& targets,
                                                  const detection::ProposalSettings& settings) {
  const torch::NoGradGuard no_grad;
  std::vector<detection::Extent> extents;
  for (const DetectionTarget& target : targets) extents.push_back(target.image);
  return model.propose(maps, extents, settings);
}

}  // namespace

torch::Tensor DetectionLosses::total() const {
  torch::Tensor sum = cls + bbox + mask;
  for (const torch::Tensor& part : rpn_cls) sum = sum + part;
  for (const torch::Tensor& part : rpn_bbox) sum = sum + part;
  return sum;
}

std::vector<std::pair<std::string, double>> DetectionLosses::named() const {
  return {{"loss_rpn_cls", item(rpn_cls)},
          {"loss_rpn_bbox", item(rpn_bbox)},
          {"loss_cls", cls.item<double>()},
          {"loss_bbox", bbox.item<double>()},
          {"loss_mask", mask.item<double>()}};
}

torch::Tensor mask_targets(const DetectionTarget& target, const std::vector<Box>& boxes,
                           const std::vector<std::int64_t>& objects, kernels::Isa isa) {
  constexpr float kInside = 0.5F;
  std::vector<float> rois;
  for (std::size_t i = 0; i < boxes.size(); ++i) {
    const Box box = detection::clipped(boxes[i], target.mask);
    rois.insert(rois.end(), {static_cast<float>(objects[i]), box.x1, box.y1, box.x2, box.y2});
  }
  std::vector<std::int64_t> all(boxes.size());
  std::iota(all.begin(), all.end(), 0);
  const std::vector<float> masks(target.masks.begin(), target.masks.end());
  kernels::RoiAlign<float> roi;
  roi.images = std::ssize(target.boxes);
  roi.height = target.mask.height;
  roi.width = target.mask.width;
  roi.channels = 1;
  roi.boxes = rois.data();
  roi.chosen = all;
  roi.size = kMaskSize;
  torch::Tensor pooled = torch::empty({std::ssize(boxes), kMaskSize, kMaskSize});
  kernels::roi_align_forward(roi, masks.data(), pooled.mutable_data_ptr<float>(), isa, torch_parallel());
  return pooled.ge(kInside).to(torch::kFloat32);
}

DetectionLosses detection_losses(DetectorImpl& model, const torch::Tensor& images,
                                 const std::vector<DetectionTarget>& targets,
                                 const DetectionTraining& training, SampleChooser& chooser) {
  if (images.size(0) != std::ssize(targets))
    fail("{} images have {} targets", images.size(0), targets.size());
  const DetectorMaps maps = model.forward_maps(images);
  DetectionLosses losses;
  losses.samples.resize(targets.size());
  train_rpn(maps, targets, training, chooser, losses);
  const std::vector<detection::Proposals> proposals =
      fixed_proposals(model, maps, targets, training.proposals);
  for (std::size_t i = 0; i < targets.size(); ++i) {
    sample_heads(targets[i], proposals[i].boxes, training, i, chooser, losses.samples[i]);
  }
  train_boxes(model, maps, targets, losses);
  train_masks(model, maps, targets, losses);
  return losses;
}

}  // namespace spatialmamba::nn
