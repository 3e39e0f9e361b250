#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace spatialmamba::metrics {

/// Label of pixels that count for nothing.
inline constexpr std::uint8_t kIgnoredLabel = 255;

struct SegmentationScores {
  double pixel_accuracy = 0.0;  ///< aAcc: right pixels among the labelled ones
  double mean_iou = 0.0;        ///< over the classes that are defined
  double mean_accuracy = 0.0;
  /// Per class; nothing for a class that is neither labelled nor predicted (accuracy: not labelled).
  std::vector<std::optional<double>> iou;
  std::vector<std::optional<double>> accuracy;
};

/// Intersection over union as mmsegmentation's IoUMetric counts it. The sums over the images are kept in
/// single precision and in the images' order, as there, so that the printed digits are the same.
class SegmentationMeter {
 public:
  /// At most 255 classes.
  explicit SegmentationMeter(std::int64_t classes);

  /// One image. Throws Error for another number of labels than predictions, and for a label or prediction
  /// that is no class.
  void add(std::span<const std::uint8_t> predicted, std::span<const std::uint8_t> labels);

  /// What add() adds of one image: the right, the predicted and the labelled pixels of each class.
  std::vector<std::int64_t> count(std::span<const std::uint8_t> predicted,
                                  std::span<const std::uint8_t> labels) const;
  void add(std::span<const std::int64_t> counts);

  std::int64_t classes() const { return static_cast<std::int64_t>(intersection_.size()); }
  std::int64_t images() const { return images_; }
  /// Pixels of each class over all images.
  const std::vector<float>& intersection() const { return intersection_; }
  const std::vector<float>& union_of() const { return union_; }
  const std::vector<float>& predicted() const { return predicted_; }
  const std::vector<float>& labelled() const { return labelled_; }

  SegmentationScores scores() const;

 private:
  std::vector<float> intersection_;
  std::vector<float> union_;
  std::vector<float> predicted_;
  std::vector<float> labelled_;
  std::int64_t images_ = 0;
};

/// A share in percent, rounded to two decimals: what the reference prints.
double percent_of(double share);

}  // namespace spatialmamba::metrics
