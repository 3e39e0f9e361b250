#include "train/detection_evaluate.h"

#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
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

/// What as_json() was made of.
metrics::CocoDetection detection_in(const nlohmann::json& json) {
  const nlohmann::json& box = json.at("bbox");
  const nlohmann::json& mask = json.at("segmentation");
  metrics::CocoDetection found;
  found.image = json.at("image_id");
  found.category = json.at("category_id");
  found.box = {box.at(0), box.at(1), box.at(2), box.at(3)};
  found.area = found.box.w * found.box.h;
  found.score = json.at("score");
  found.mask = image::rle_from_text(mask.at("counts").get<std::string>(), mask.at("size").at(0),
                                    mask.at("size").at(1));
  return found;
}

/// What was found in the pictures of one process.
struct Found {
  bool stopped = false;
  std::vector<std::int64_t> images = {};
  nlohmann::json results = nlohmann::json::array();
  std::int64_t left_out = 0;
  std::vector<std::string> skipped = {};
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Found, stopped, images, results, left_out, skipped)

Found find_own(const detection::Network& network, const data::DetectionDataset& dataset,
               const DetectionEvaluateOptions& options) {
  Found own;
  const auto look = [&](std::int64_t i) {
    const data::DetectionImage& entry = dataset.images[static_cast<std::size_t>(i)];
    image::Image picture;
    try {
      picture = dataset.load_picture(i);
    } catch (const Error& error) {
      if (options.strict) throw;
      own.skipped.emplace_back(error.what());
      return;
    }
    const detection::Prediction prediction = detection::predict(picture, options.predict, network);
    own.left_out += prediction.left_out;
    own.images.push_back(entry.id);
    for (const detection::Instance& instance : prediction.instances) {
      const std::int64_t category = dataset.category_ids[static_cast<std::size_t>(instance.label)];
      own.results.push_back(as_json(as_detection(instance, entry.id, category)));
    }
    options.observe(i, picture, prediction);
  };
  own.stopped = !look_at_own(options.share, dataset.size(), options.label, options.stop, look);
  return own;
}

std::unordered_map<std::int64_t, const data::CocoImage*> sizes_of(const data::CocoFile& truth) {
  std::unordered_map<std::int64_t, const data::CocoImage*> sizes;
  for (const data::CocoImage& image : truth.images) sizes.emplace(image.id, &image);
  return sizes;
}

/// COCO's figures of boxes and of masks.
void compare(const data::DetectionDataset& dataset, const std::vector<std::int64_t>& images,
             const DetectionEvaluateOptions& options, DetectionEvaluation& evaluation) {
  std::vector<metrics::CocoDetection> found;
  for (const nlohmann::json& one : evaluation.results) found.push_back(detection_in(one));
  const auto compare_by = [&](metrics::Overlap overlap) {
    return compare_with_truth(*dataset.coco, images, dataset.category_ids, found,
                              {.overlap = overlap, .max_detections = options.limits});
  };
  evaluation.box = compare_by(metrics::Overlap::box);
  // As mmdetection does it: among masks, a detection's area is that of its mask.
  for (metrics::CocoDetection& one : found) one.area = static_cast<double>(image::area(one.mask));
  evaluation.mask = compare_by(metrics::Overlap::mask);
}

using Stats = std::array<double, metrics::kCocoStats>;

/// All processes get the first one's.
void share_figures(const EvaluationShare& share, DetectionEvaluation& evaluation) {
  const auto all = gather(std::array<Stats, 2>{evaluation.box.stats, evaluation.mask.stats}, share);
  evaluation.box.stats = all.front()[0];
  evaluation.mask.stats = all.front()[1];
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
  std::vector<std::int64_t> images;
  for (const Found& part : gather(find_own(network, dataset, options), options.share)) {
    if (part.stopped) return std::nullopt;
    images.insert(images.end(), part.images.begin(), part.images.end());
    evaluation.results.insert(evaluation.results.end(), part.results.begin(), part.results.end());
    evaluation.left_out += part.left_out;
    evaluation.skipped.insert(evaluation.skipped.end(), part.skipped.begin(), part.skipped.end());
  }
  if (images.empty()) fail("{}: none of its pictures can be read", dataset.coco->name);
  evaluation.images = std::ssize(images);
  if (options.share.process == 0) compare(dataset, images, options, evaluation);
  share_figures(options.share, evaluation);
  return evaluation;
}

}  // namespace spatialmamba::train
