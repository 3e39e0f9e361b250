#include "cli/detection.h"
#include "cli/task.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/error.h"

namespace spatialmamba::cli {

void add_detection(CLI::App& app, DetectionOptions& options) {
  const auto share = [&](const char* name, float& value, const char* help) {
    app.add_option(name, value, help)->check(CLI::Range(0.0F, 1.0F))->type_name("X");
  };
  share("--score", options.score, "Detection: keep what is surer than this (default: 0.05)");
  share("--nms", options.nms, "Detection: boxes of a class that overlap more are one object (default: 0.5)");
  share("--mask-threshold", options.mask,
        "Detection: a pixel belongs to an object from here on (default: 0.5)");
  app.add_option("--max-detections", options.limit,
                 "Detection: at most so many per picture; -1: all. How many that leaves out is reported "
                 "(default: 100)")
      ->check(CLI::Range(-1, 1000000))
      ->type_name("N");
  app.add_option("--proposals", options.proposals,
                 "Detection: boxes that are looked at closely (default: 1000)")
      ->check(CLI::Range(1, 1000000))
      ->type_name("N");
  CLI::Option* tile =
      app.add_option("--tile", options.tile,
                     "Detection: cut large pictures into overlapping parts of so many pixels a side")
          ->check(CLI::Range(32, 1 << 16))
          ->type_name("N");
  app.add_option("--overlap", options.overlap, "Pixels that neighbouring parts share (default: a quarter)")
      ->check(CLI::Range(0, 1 << 16))
      ->needs(tile)
      ->type_name("N");
}

DetectionCard detection_card(std::int64_t classes, const std::map<std::string, std::string>& metadata,
                             const std::string& source, const CardOptions& card_options,
                             const DetectionOptions& options) {
  DetectionCard card;
  detection::PredictOptions& predict = card.predict;
  const auto set_fit = [&](std::int64_t first, std::int64_t second) {
    predict.long_side = static_cast<int>(std::max(first, second));
    predict.short_side = static_cast<int>(std::min(first, second));
  };
  with_metadata(metadata, source, "mean",
                [&](const std::string& text) { predict.format.mean = three_numbers(text); });
  with_metadata(metadata, source, "std",
                [&](const std::string& text) { predict.format.std = three_numbers(text); });
  with_metadata(metadata, source, "fit", [&](const std::string& text) {
    const auto sides = nlohmann::json::parse(text).get<std::array<int, 2>>();
    set_fit(sides[0], sides[1]);
  });
  const bool coco = classes == std::ssize(coco_classes());
  const ClassNames names = class_names(classes, metadata, source, card_options,
                                       coco ? coco_classes() : std::vector<std::string>{});
  card.classes = names.names;
  card.named = names.known;
  if (!options.fit.empty()) {
    const ImageSize size = parse_fit(options.fit);
    set_fit(size.height, size.width);
  }
  predict.proposals = {.per_level = options.proposals, .per_image = options.proposals};
  predict.detections = {
      .score = options.score, .nms = options.nms, .per_image = options.limit, .mask = options.mask};
  if (options.tile > 0) {
    predict.tiles = detection::Tiles{options.tile, options.overlap > 0 ? options.overlap : options.tile / 4};
  }
  detection::validate(predict);
  return card;
}

}  // namespace spatialmamba::cli
