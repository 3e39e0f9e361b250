#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/detection.h"
#include "image/codec.h"
#include "train/detection_evaluate.h"

namespace spatialmamba::cli {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kPictures = 8;  ///< drawn, evenly spread over the data set

ordered_json as_json(const metrics::CocoResult& result, const std::vector<std::string>& names) {
  ordered_json json;
  for (std::size_t i = 0; i < metrics::kCocoStats; ++i) json[metrics::coco_stat_name(i)] = result.stats[i];
  json["per_class"] = ordered_json::array();
  for (std::size_t k = 0; k < result.categories.size(); ++k) {
    json["per_class"].push_back({{"category", result.categories[k]},
                                 {"name", names[k]},
                                 {"AP", result.category_ap[k]},
                                 {"AP50", result.category_ap50[k]}});
  }
  return json;
}

/// Names in the order of ascending category ids.
std::vector<std::string> names_by_id(const data::CocoFile& coco,
                                     const std::vector<std::int64_t>& categories) {
  std::vector<std::int64_t> sorted = categories;
  std::ranges::sort(sorted);
  std::vector<std::string> names;
  for (const std::int64_t id : sorted) {
    names.push_back(std::ranges::find(coco.categories, id, &data::CocoCategory::id)->name);
  }
  return names;
}

void print_figures(const char* what, const ordered_json& figures) {
  fmt::print("{:5}", what);
  for (std::size_t i = 0; i < metrics::kCocoStats; ++i) {
    const auto name = metrics::coco_stat_name(i);
    fmt::print("  {} {:.3f}", name, figures[name].get<double>());
  }
  fmt::print("\n");
}

void print_classes(const ordered_json& result) {
  std::vector<const char*> kinds;
  for (const char* kind : {"box", "mask"}) {
    if (result.contains(kind)) kinds.push_back(kind);
  }
  const auto& first = result[kinds.front()]["per_class"];
  for (std::size_t k = 0; k < first.size(); ++k) {
    fmt::print("  {:24}", first[k]["name"].get<std::string>());
    for (const char* kind : kinds) {
      fmt::print("  {} AP {:6.3f}  AP50 {:6.3f}", kind, result[kind]["per_class"][k]["AP"].get<double>(),
                 result[kind]["per_class"][k]["AP50"].get<double>());
    }
    fmt::print("\n");
  }
}

void print_table(const ordered_json& result) {
  print_classes(result);
  for (const char* kind : {"box", "mask"}) {
    if (result.contains(kind)) print_figures(kind, result[kind]);
  }
  fmt::print("{} images in {}\n", result["images"].get<std::int64_t>(),
             format_duration(result["seconds"].get<double>()));
}

/// Draws what was found in some pictures.
void draw_some(const DetectionEval& options, const DetectionCard& card, const data::DetectionDataset& dataset,
               std::int64_t index, const image::Image& picture, const detection::Prediction& prediction) {
  constexpr float kShown = 0.5F;
  const std::int64_t every = std::max<std::int64_t>(1, dataset.size() / kPictures);
  if (options.out.empty() || index % every != 0 || index / every >= kPictures) return;
  const std::string stem = dataset.images[static_cast<std::size_t>(index)].path.stem().string();
  image::write_image(options.out / (stem + ".png"),
                     draw::draw_detections(picture, drawn_objects(prediction, card, kShown), ""));
}

data::DetectionDataset open_matching(const DetectionEval& options, const DetectionCard& card) {
  const data::CocoPlace place = data::find_coco(options.data, data::Split::validation);
  auto coco = std::make_shared<const data::CocoFile>(data::read_coco(place.annotations));
  for (const std::string& problem : coco->problems)
    spdlog::warn("{}: {}", place.annotations.string(), problem);
  data::DetectionDatasetOptions how;
  if (card.named) how.classes = card.classes;
  data::DetectionDataset dataset = data::detection_dataset(coco, place.images, how);
  if (dataset.classes.size() != card.classes.size()) {
    fail("{}: has {} categories, but the network tells {} apart", place.annotations.string(),
         dataset.classes.size(), card.classes.size());
  }
  if (card.named && dataset.classes != card.classes) {
    fail("{}: its categories are not in the order of the network's classes; --classes FILE names those",
         place.annotations.string());
  }
  return dataset;
}

ordered_json summary(const DetectionEval& options, const DetectionNetwork& network,
                     const train::DetectionEvaluation& evaluation, const data::DetectionDataset& dataset,
                     double seconds) {
  const std::vector<std::string> names = names_by_id(*dataset.coco, dataset.category_ids);
  return {{"weights", options.network.weights.string()},
          {"task", "detection"},
          {"ema", options.network.ema},
          {"variant", network.architecture().backbone.variant},
          {"data", options.data.string()},
          {"images", evaluation.images},
          {"skipped", evaluation.skipped.size()},
          {"left_out", evaluation.left_out},
          {"seconds", seconds},
          {"images_per_second", static_cast<double>(evaluation.images) / seconds},
          {"box", as_json(evaluation.box, names)},
          {"mask", as_json(evaluation.mask, names)}};
}

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

void eval_detection(const DetectionEval& options) {
  const DetectionNetwork network = DetectionNetwork::open(options.network);
  const DetectionCard card = detection_card(network.architecture().num_classes, network.metadata(),
                                            options.network.weights.string(), options.card, options.how);
  const data::DetectionDataset dataset = open_matching(options, card);
  if (!options.out.empty()) make_folder(options.out);  // fail now rather than after the work
  const auto start = std::chrono::steady_clock::now();
  train::DetectionEvaluateOptions how;
  how.predict = card.predict;
  how.strict = options.strict;
  how.label = "eval";
  how.observe = [&](std::int64_t i, const image::Image& picture, const detection::Prediction& prediction) {
    draw_some(options, card, dataset, i, picture, prediction);
  };
  // Never stopped, so there is a result.
  const train::DetectionEvaluation evaluation =
      train::evaluate_detection(network.network(), dataset, how).value();
  for (const std::string& sentence : evaluation.skipped) spdlog::warn("left out: {}", sentence);
  const ordered_json result = summary(options, network, evaluation, dataset, seconds_since(start));
  if (!options.out.empty()) {
    write_text(options.out / "eval.json", result.dump(2) + '\n');
    write_text(options.out / "results.json", evaluation.results.dump() + '\n');
  }
  if (options.json) {
    print_json(result);
  } else {
    print_table(result);
  }
}

void eval_results(const ResultsEval& options) {
  const auto start = std::chrono::steady_clock::now();
  const data::CocoPlace place = data::find_coco(options.data, data::Split::validation);
  const data::CocoFile truth = data::read_coco(place.annotations);
  for (const std::string& problem : truth.problems)
    spdlog::warn("{}: {}", place.annotations.string(), problem);
  const data::CocoFile results = data::read_coco_results(options.results, truth);
  std::vector<std::int64_t> images;
  std::vector<std::int64_t> categories;
  for (const data::CocoImage& image : truth.images) images.push_back(image.id);
  for (const data::CocoCategory& category : truth.categories) categories.push_back(category.id);
  std::vector<metrics::CocoDetection> detections = train::detections_of(results, truth);
  ThreadPool pool(options.threads);
  metrics::CocoSettings settings;
  if (!options.limits.empty()) {
    std::ranges::copy(options.limits, settings.max_detections.begin());
    std::ranges::sort(settings.max_detections);
  }
  const std::vector<std::string> names = names_by_id(truth, categories);
  ordered_json result{{"data", place.annotations.string()},
                      {"results", options.results.string()},
                      {"images", images.size()},
                      {"detections", detections.size()}};
  const auto compare = [&](metrics::Overlap overlap) {
    settings.overlap = overlap;
    return as_json(
        train::compare_with_truth(truth, images, categories, detections, settings, pool.parallel_for()),
        names);
  };
  const bool outlined = std::ranges::any_of(results.objects, [](const data::CocoObject& object) {
    return object.outline.kind != data::CocoOutline::Kind::none;
  });
  result["box"] = compare(metrics::Overlap::box);
  if (outlined) result["mask"] = compare(metrics::Overlap::mask);
  result["seconds"] = seconds_since(start);
  if (options.json) {
    print_json(result);
  } else {
    print_table(result);
  }
}

}  // namespace spatialmamba::cli
