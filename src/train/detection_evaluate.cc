#include "train/detection_evaluate.h"

#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "base/progress.h"
#include "image/codec.h"

namespace spatialmamba::train {
namespace {

metrics::CocoDetection as_detection(const detection::Instance& instance, std::int64_t image,
                                    std::int64_t category) {
  const detection::Box& box = instance.box;
  const auto x = static_cast<double>(box.x1);
  const auto y = static_cast<double>(box.y1);
  metrics::CocoDetection found;
  found.image = image;
  found.category = category;
  found.box = {x, y, static_cast<double>(box.x2) - x, static_cast<double>(box.y2) - y};
  found.area = found.box.w * found.box.h;
  found.score = static_cast<double>(instance.score);
  found.mask = instance.mask;
  return found;
}

nlohmann::json as_json(const metrics::CocoDetection& found) {
  return {{"image_id", found.image},
          {"category_id", found.category},
          {"bbox", {found.box.x, found.box.y, found.box.w, found.box.h}},
          {"score", found.score},
          {"segmentation",
           {{"size", {found.mask.height, found.mask.width}}, {"counts", image::rle_to_text(found.mask)}}}};
}

std::unordered_map<std::int64_t, const data::CocoImage*> sizes_of(const data::CocoFile& truth) {
  std::unordered_map<std::int64_t, const data::CocoImage*> sizes;
  for (const data::CocoImage& image : truth.images) sizes.emplace(image.id, &image);
  return sizes;
}

}  // namespace

std::vector<metrics::CocoDetection> detections_of(const data::CocoFile& results,
                                                  const data::CocoFile& truth) {
  const auto sizes = sizes_of(truth);
  std::vector<metrics::CocoDetection> detections;
  detections.reserve(results.objects.size());
  for (const data::CocoObject& object : results.objects) {
    const data::CocoImage& image = *sizes.at(object.image);
    metrics::CocoDetection& found = detections.emplace_back();
    found.image = object.image;
    found.category = object.category;
    found.box = object.box;
    found.area = object.area;
    found.score = object.score;
    if (object.outline.kind != data::CocoOutline::Kind::none) {
      found.mask = data::mask_of(results, object, image.height, image.width);
    }
  }
  return detections;
}

metrics::CocoResult compare_with_truth(const data::CocoFile& truth, const std::vector<std::int64_t>& images,
                                       const std::vector<std::int64_t>& categories,
                                       const std::vector<metrics::CocoDetection>& detections,
                                       const metrics::CocoSettings& settings, const ParallelFor& parallel) {
  const auto sizes = sizes_of(truth);
  const std::unordered_set<std::int64_t> wanted(images.begin(), images.end());
  std::vector<metrics::CocoTruth> truths;
  for (const data::CocoObject& object : truth.objects) {
    if (!wanted.contains(object.image)) continue;
    const data::CocoImage& image = *sizes.at(object.image);
    metrics::CocoTruth& entry = truths.emplace_back();
    entry.id = object.id;
    entry.image = object.image;
    entry.category = object.category;
    entry.box = object.box;
    entry.area = object.area;
    entry.crowd = object.crowd;
    if (settings.overlap == metrics::Overlap::mask) {
      entry.mask = data::mask_of(truth, object, image.height, image.width);
    }
  }
  return metrics::evaluate_coco(truths, detections, images, categories, settings, parallel);
}

std::optional<DetectionEvaluation> evaluate_detection(const detection::Network& network,
                                                      const data::DetectionDataset& dataset,
                                                      const DetectionEvaluateOptions& options) {
  DetectionEvaluation evaluation;
  std::vector<metrics::CocoDetection> found;
  std::vector<std::int64_t> images;
  ProgressBar bar(options.label, dataset.size(), "img");
  for (std::int64_t i = 0; i < dataset.size(); ++i) {
    if (options.stop()) return std::nullopt;
    const data::DetectionImage& entry = dataset.images[static_cast<std::size_t>(i)];
    image::Image picture;
    try {
      picture = dataset.load_picture(i);
    } catch (const Error& error) {
      if (options.strict) throw;
      evaluation.skipped.emplace_back(error.what());
      continue;
    }
    const detection::Prediction prediction = detection::predict(picture, options.predict, network);
    evaluation.left_out += prediction.left_out;
    images.push_back(entry.id);
    for (const detection::Instance& instance : prediction.instances) {
      const std::int64_t category = dataset.category_ids[static_cast<std::size_t>(instance.label)];
      found.push_back(as_detection(instance, entry.id, category));
      evaluation.results.push_back(as_json(found.back()));
    }
    options.observe(i, picture, prediction);
    bar.advance(1);
  }
  if (images.empty()) fail("{}: none of its pictures can be read", dataset.coco->name);
  evaluation.images = std::ssize(images);
  const auto compare = [&](metrics::Overlap overlap) {
    return compare_with_truth(*dataset.coco, images, dataset.category_ids, found,
                              {.overlap = overlap, .max_detections = options.limits});
  };
  evaluation.box = compare(metrics::Overlap::box);
  // As mmdetection does it: among masks, a detection's area is that of its mask.
  for (metrics::CocoDetection& one : found) one.area = static_cast<double>(image::area(one.mask));
  evaluation.mask = compare(metrics::Overlap::mask);
  return evaluation;
}

}  // namespace spatialmamba::train
