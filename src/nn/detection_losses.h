#pragma once

#include <torch/torch.h>

#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "detection/assign.h"
#include "nn/detector.h"

namespace spatialmamba::nn {

/// What is to be found in one image of a batch.
struct DetectionTarget {
  detection::Extent image;   ///< without padding
  detection::Extent padded;  ///< to multiples of 32, before it was padded to the batch
  std::vector<detection::Box> boxes;
  std::vector<std::int64_t> labels;
  std::vector<detection::Box> ignored;  ///< crowds
  /// One mask of 0 and 1 per box, [boxes][mask.height][mask.width].
  std::vector<std::uint8_t> masks;
  detection::Extent mask;
};

/// mmdetection's numbers for Mask R-CNN.
struct DetectionTraining {
  detection::Assigner rpn_assigner{.positive = 0.7F, .negative = 0.3F, .least = 0.3F};
  detection::Sampler rpn_sampler{.count = 256, .positive_share = 0.5};
  detection::ProposalSettings proposals{.per_level = 2000, .per_image = 1000, .nms = 0.7F};
  detection::Assigner box_assigner{.positive = 0.5F, .negative = 0.5F, .least = 0.5F};
  detection::Sampler box_sampler{.count = 512, .positive_share = 0.25};
};

/// The boxes that the losses of one image were computed on. Rows of the region proposal network count the
/// anchors of all levels that the padded image reaches; rows of the heads count its objects, then its
/// proposals.
struct DetectionSample {
  detection::Sample rpn;
  std::vector<std::int64_t> rpn_objects;  ///< of the positives
  detection::Sample heads;
  std::vector<std::int64_t> head_objects;
  std::vector<detection::Box> positives;  ///< boxes of the heads' sample
  std::vector<detection::Box> negatives;
};

/// Scalars, as mmdetection names them. Their sum is what is trained on.
struct DetectionLosses {
  std::vector<torch::Tensor> rpn_cls;   ///< one per level
  std::vector<torch::Tensor> rpn_bbox;  ///< one per level
  torch::Tensor cls;
  torch::Tensor bbox;
  torch::Tensor mask;
  double accuracy = 0.0;  ///< of the class of the sampled boxes, in percent
  std::vector<DetectionSample> samples;

  torch::Tensor total() const;
  /// "loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox", "loss_mask".
  std::vector<std::pair<std::string, double>> named() const;
};

/// Chooses the boxes that the losses of an image are computed on; the reference's random choice, or a
/// recorded one.
class SampleChooser {
 public:
  virtual ~SampleChooser() = default;
  virtual detection::Sample rpn(std::size_t image, const detection::Sampler& sampler,
                                const detection::Assignment& assignment) = 0;
  virtual detection::Sample heads(std::size_t image, const detection::Sampler& sampler,
                                  const detection::Assignment& assignment) = 0;
};

/// Draws all of a batch from one stream.
class RandomChooser : public SampleChooser {
 public:
  explicit RandomChooser(Random random) : random_(random) {}
  detection::Sample rpn(std::size_t, const detection::Sampler& sampler,
                        const detection::Assignment& assignment) override {
    return detection::draw_sample(sampler, assignment, random_);
  }
  detection::Sample heads(std::size_t, const detection::Sampler& sampler,
                          const detection::Assignment& assignment) override {
    return detection::draw_sample(sampler, assignment, random_);
  }

 private:
  Random random_;
};

/// Forward pass and losses of a batch, in the model's mode. images (N, C, H, W), one target per image.
DetectionLosses detection_losses(DetectorImpl& model, const torch::Tensor& images,
                                 const std::vector<DetectionTarget>& targets,
                                 const DetectionTraining& training, SampleChooser& chooser);

/// What the mask head is to say about boxes: the masks of their objects, cut out and scaled to 28 x 28 as
/// RoIAlign does, 1 from one half on. (boxes, 28, 28), 0 or 1.
torch::Tensor mask_targets(const DetectionTarget& target, const std::vector<detection::Box>& boxes,
                           const std::vector<std::int64_t>& objects, kernels::Isa isa);

}  // namespace spatialmamba::nn
