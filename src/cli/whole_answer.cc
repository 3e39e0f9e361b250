#include "cli/whole_answer.h"

#include "base/parallel.h"
#include "detector/run.h"
#include "segmentation/scores.h"

namespace spatialmamba::cli {
namespace {

Tensor label_maps(const ScoreMaps& scores, const ImageBatch& images, int threads) {
  ThreadPool pool(threads);
  Tensor labels(DType::u8, {images.count, images.height, images.width});
  const std::int64_t values = scores.height * scores.width * scores.classes;
  const std::int64_t pixels = images.height * images.width;
  for (std::int64_t n = 0; n < images.count; ++n) {
    const float* from = scores.values.data() + n * values;
    const auto map = std::make_shared<const segmentation::ScoreMap>(
        segmentation::ScoreMap{scores.height, scores.width, scores.classes, {from, from + values}});
    const auto enlarged = [&] {
      return segmentation::resized(segmentation::rows_of(map), images.height, images.width);
    };
    const image::Image best = segmentation::best_classes(enlarged, pool.parallel_for());
    std::ranges::copy(best.pixels, labels.mutable_data<std::uint8_t>() + n * pixels);
  }
  return labels;
}

/// The detections of all images of a batch, one behind another.
struct Found {
  std::vector<float> boxes;
  std::vector<float> scores;
  std::vector<std::int64_t> classes;
  std::vector<std::int64_t> images;
  std::vector<std::int64_t> runs;
  std::vector<std::int64_t> mask_runs;

  void add(std::int64_t image, const detection::NetworkAnswer& answer, const detection::Extent& extent,
           const detection::DetectionSettings& settings, kernels::Isa isa) {
    constexpr std::size_t kMaskValues = kMaskSize * kMaskSize;
    const auto coordinates = detection::coordinates(answer.found.boxes);
    boxes.insert(boxes.end(), coordinates.begin(), coordinates.end());
    scores.insert(scores.end(), answer.found.scores.begin(), answer.found.scores.end());
    classes.insert(classes.end(), answer.found.labels.begin(), answer.found.labels.end());
    images.resize(scores.size(), image);
    for (std::size_t i = 0; i < answer.found.boxes.size(); ++i) {
      const auto logits = std::span(answer.masks).subspan(i * kMaskValues, kMaskValues);
      const image::Rle mask =
          detection::outline(logits, kMaskSize, answer.found.boxes[i], extent, settings.mask, isa);
      runs.insert(runs.end(), mask.counts.begin(), mask.counts.end());
      mask_runs.push_back(std::ssize(mask.counts));
    }
  }

  TensorMap tensors() const {
    const std::int64_t n = std::ssize(scores);
    TensorMap map;
    map.add("boxes", Tensor::from({n, 4}, boxes));
    map.add("scores", Tensor::from({n}, scores));
    map.add("classes", Tensor::from({n}, classes));
    map.add("images", Tensor::from({n}, images));
    map.add("runs", Tensor::from({std::ssize(runs)}, runs));
    map.add("mask_runs", Tensor::from({n}, mask_runs));
    return map;
  }
};

TensorMap detections(Session& session, const ImageBatch& images) {
  const detection::DetectionSettings settings;
  const detection::Extent extent{images.height, images.width};
  const std::vector<detection::Extent> extents(static_cast<std::size_t>(images.count), extent);
  const auto answers = detection::run(session, images, extents, {}, settings);
  Found found;
  std::vector<std::int64_t> proposals;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    found.add(static_cast<std::int64_t>(i), answers[i], extent, settings,
              kernels::isa_from_name(session.model().isa()));
    proposals.push_back(answers[i].proposals);
  }
  TensorMap map = found.tensors();
  map.add("proposals", Tensor::from({images.count}, proposals));
  return map;
}

}  // namespace

TensorMap whole_answer(Session& session, const ImageBatch& images) {
  TensorMap answer;
  switch (session.model().task()) {
    case Task::segmentation:
      answer.add("labels", label_maps(session.scores(images), images, session.threads()));
      return answer;
    case Task::detection:
      return detections(session, images);
    case Task::classification:
      break;
  }
  const auto logits = session.logits(images);
  answer.add("logits", Tensor::from<float>({images.count, session.model().num_classes()},
                                           {logits.begin(), logits.end()}));
  return answer;
}

}  // namespace spatialmamba::cli
