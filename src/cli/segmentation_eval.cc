#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/segmentation.h"
#include "draw/segmentation.h"
#include "image/codec.h"
#include "train/segmentation_evaluate.h"

namespace spatialmamba::cli {
namespace {

using nlohmann::ordered_json;

constexpr std::int64_t kOverlays = 8;  ///< drawn, evenly spread over the data set

/// The data set under the classes of the network. A set in ADE20K's layout may count value 0 as a class of
/// its own: the network's classes tell.
data::SegmentationDataset open_matching(const SegmentationEval& options, const SegmentationCard& card) {
  data::SegmentationOptions wanted;
  if (card.classes.front() == "background") wanted.zero = data::ZeroLabel::first_class;
  data::SegmentationDataset dataset = data::open_segmentation(options.data, data::Split::validation, wanted);
  if (dataset.classes.size() != card.classes.size()) {
    fail("{}: has {} classes, but the network tells {} apart", options.data.string(), dataset.classes.size(),
         card.classes.size());
  }
  if (card.named && dataset.classes != card.classes) {
    fail("{}: its classes are not the network's, or in another order; --classes FILE names the network's",
         options.data.string());
  }
  return dataset;
}

ordered_json share(const std::optional<double>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

ordered_json as_json(const SegmentationEval& options, const SegmentationNetwork& network,
                     const train::SegmentationEvaluation& evaluation,
                     const data::SegmentationDataset& dataset, double seconds) {
  const metrics::SegmentationMeter& meter = evaluation.meter;
  const metrics::SegmentationScores scores = meter.scores();
  ordered_json result{{"weights", options.network.weights.string()},
                      {"task", "segmentation"},
                      {"ema", options.network.ema},
                      {"variant", network.architecture().backbone.variant},
                      {"data", options.data.string()},
                      {"tta", options.how.tta},
                      {"images", meter.images()},
                      {"skipped", evaluation.skipped.size() + dataset.problems.size()},
                      {"mIoU", metrics::percent_of(scores.mean_iou)},
                      {"mAcc", metrics::percent_of(scores.mean_accuracy)},
                      {"aAcc", metrics::percent_of(scores.pixel_accuracy)},
                      {"seconds", seconds},
                      {"images_per_second", static_cast<double>(meter.images()) / seconds},
                      {"per_class", ordered_json::array()}};
  for (std::size_t i = 0; i < dataset.classes.size(); ++i) {
    result["per_class"].push_back({{"class", i},
                                   {"name", dataset.classes[i]},
                                   {"iou", share(scores.iou[i])},
                                   {"accuracy", share(scores.accuracy[i])},
                                   {"pixels", static_cast<std::int64_t>(meter.labelled()[i])}});
  }
  return result;
}

std::string percent(const ordered_json& value) {
  return value.is_null() ? "-" : fmt::format("{:.2f}", metrics::percent_of(value.get<double>()));
}

void print_table(const ordered_json& result) {
  std::size_t width = 5;
  for (const auto& row : result["per_class"]) {
    width = std::max(width, row["name"].get_ref<const std::string&>().size());
  }
  fmt::print("{:{}}  {:>7}  {:>7}\n", "class", width, "IoU", "Acc");
  for (const auto& row : result["per_class"]) {
    fmt::print("{:{}}  {:>7}  {:>7}\n", row["name"].get<std::string>(), width, percent(row["iou"]),
               percent(row["accuracy"]));
  }
  fmt::print("\nmIoU {:.2f}   mAcc {:.2f}   aAcc {:.2f}   {} images in {}{}\n", result["mIoU"].get<double>(),
             result["mAcc"].get<double>(), result["aAcc"].get<double>(), result["images"].get<std::int64_t>(),
             format_duration(result["seconds"].get<double>()),
             result["tta"].get<bool>() ? " (three scales and mirror images)" : "");
  if (const auto skipped = result["skipped"].get<std::int64_t>(); skipped > 0) {
    fmt::print("{} pictures or label maps were left out\n", skipped);
  }
}

/// The prediction beside the truth for some pictures.
class Overlays {
 public:
  Overlays(const std::filesystem::path& folder, const data::SegmentationDataset& dataset,
           const SegmentationCard& card)
      : folder_(folder),
        dataset_(dataset),
        card_(card),
        every_(std::max<std::int64_t>(1, dataset.size() / kOverlays)) {}

  void add(std::int64_t i, const data::LabelledPicture& sample, const image::Image& predicted) const {
    if (folder_.empty() || i % every_ != 0 || i / every_ >= kOverlays) return;
    const std::string stem = dataset_.pictures[static_cast<std::size_t>(i)].stem().string();
    const draw::LabelStyle style{card_.classes, card_.palette};
    image::write_image(folder_ / (stem + ".png"),
                       draw::draw_comparison(sample.picture, predicted, sample.labels, style, stem));
  }

 private:
  const std::filesystem::path& folder_;
  const data::SegmentationDataset& dataset_;
  const SegmentationCard& card_;
  std::int64_t every_;
};

}  // namespace

void eval_segmentation(const SegmentationEval& options) {
  const SegmentationNetwork network = SegmentationNetwork::open(options.network);
  const SegmentationCard card =
      segmentation_card(network.architecture().num_classes, network.metadata(),
                        options.network.weights.string(), options.card, options.how);
  const data::SegmentationDataset dataset = open_matching(options, card);
  if (!options.out.empty()) make_folder(options.out);  // fail now rather than after the work
  for (const std::string& problem : dataset.problems) spdlog::warn("left out: {}", problem);
  const Overlays overlays(options.out, dataset, card);
  const train::SegmentationEvaluateOptions how{
      .predict = card.predict,
      .strict = options.strict,
      .label = "eval",
      .observe = [&](std::int64_t i, const data::LabelledPicture& sample, const image::Image& predicted) {
        overlays.add(i, sample, predicted);
      }};
  const auto start = std::chrono::steady_clock::now();
  // Never stopped, so there is a result.
  const train::SegmentationEvaluation evaluation =
      train::evaluate_segmentation(network.network(), dataset, how).value();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  for (const std::string& sentence : evaluation.skipped) spdlog::warn("left out: {}", sentence);
  const ordered_json result = as_json(options, network, evaluation, dataset, seconds);
  if (!options.out.empty()) write_text(options.out / "eval.json", result.dump(2) + '\n');
  if (options.json) {
    print_json(result);
  } else {
    print_table(result);
  }
}

}  // namespace spatialmamba::cli
