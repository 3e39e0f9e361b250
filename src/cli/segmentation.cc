#include "cli/segmentation.h"
#include "cli/task.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "model/segmentation_classes.h"

namespace spatialmamba::cli {
namespace {

constexpr const char* kNative = "native";
constexpr int kLargestWindow = 16384;

void set_fit(segmentation::PredictOptions& predict, int long_side, int short_side) {
  predict.long_side = std::max(long_side, short_side);
  predict.short_side = std::min(long_side, short_side);
}

std::vector<std::string> built_in_names(std::int64_t classes) {
  for (const std::span<const LabelClass> known : {ade20k_classes(), cityscapes_classes(), voc_classes()}) {
    if (std::ssize(known) != classes) continue;
    std::vector<std::string> names;
    for (const LabelClass& entry : known) names.emplace_back(entry.name);
    return names;
  }
  return {};
}

}  // namespace

void add_segmentation(CLI::App& app, SegmentationOptions& options) {
  app.add_flag("--tta", options.tta,
               "Segmentation: average over three scales and mirror images, as the reference's test does");
  app.add_option("--fit", options.fit,
                 "Segmentation, detection: fit pictures into LONGxSHORT pixels; segmentation also native: as "
                 "they are")
      ->type_name("SIZE");
  CLI::Option* window =
      app.add_option("--window", options.window,
                     "Segmentation: slide a window of so many pixels over the picture (for large ones)")
          ->check(CLI::Range(1, kLargestWindow))
          ->type_name("N");
  app.add_option("--stride", options.stride, "Pixels from window to window (default: two thirds of it)")
      ->check(CLI::Range(1, kLargestWindow))
      ->needs(window)
      ->type_name("N");
}

SegmentationCard segmentation_card(std::int64_t classes, const std::map<std::string, std::string>& metadata,
                                   const std::string& source, const CardOptions& card_options,
                                   const SegmentationOptions& options) {
  SegmentationCard card;
  with_metadata(metadata, source, "mean",
                [&](const std::string& text) { card.predict.format.mean = three_numbers(text); });
  with_metadata(metadata, source, "std",
                [&](const std::string& text) { card.predict.format.std = three_numbers(text); });
  with_metadata(metadata, source, "fit", [&](const std::string& text) {
    const auto sides = nlohmann::json::parse(text).get<std::array<int, 2>>();
    set_fit(card.predict, sides[0], sides[1]);
  });
  const ClassNames names = class_names(classes, metadata, source, card_options, built_in_names(classes));
  card.classes = names.names;
  card.named = names.known;
  card.palette = palette_of(card.classes);
  if (options.fit == kNative) {
    set_fit(card.predict, 0, 0);
  } else if (!options.fit.empty()) {
    const ImageSize size = parse_fit(options.fit);
    set_fit(card.predict, static_cast<int>(size.height), static_cast<int>(size.width));
  }
  if (options.window > 0) {
    const int stride = options.stride > 0 ? options.stride : std::max(1, options.window * 2 / 3);
    card.predict.window = segmentation::Window{.size = options.window, .stride = stride};
  }
  if (options.tta) card.predict = segmentation::augmented(card.predict);
  segmentation::validate(card.predict);
  return card;
}

}  // namespace spatialmamba::cli
