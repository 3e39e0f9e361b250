#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>

#include "base/file.h"
#include "base/parallel.h"
#include "cli/picture_answers.h"
#include "cli/segmentation.h"
#include "draw/segmentation.h"
#include "image/codec.h"

namespace spatialmamba::cli {
namespace {

using nlohmann::ordered_json;

/// The classes that a label map holds, the largest first.
ordered_json areas(const image::Image& labels, const SegmentationCard& card) {
  std::array<std::int64_t, 256> pixels{};
  for (const std::uint8_t label : labels.pixels) ++pixels[label];
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < card.classes.size(); ++i) {
    if (pixels[i] > 0) order.push_back(i);
  }
  std::ranges::stable_sort(order, std::greater{}, [&](std::size_t i) { return pixels[i]; });
  auto list = ordered_json::array();
  for (const std::size_t i : order) {
    list.push_back({{"class", i},
                    {"name", card.classes[i]},
                    {"pixels", pixels[i]},
                    {"share", static_cast<double>(pixels[i]) / static_cast<double>(labels.pixels.size())}});
  }
  return list;
}

/// Draws what was found; adds the files' names to the answer.
void write_pictures(const SegmentationPredict& options, const SegmentationCard& card,
                    const image::Image& picture, const image::Image& labels,
                    const std::filesystem::path& name, ordered_json& answer) {
  const draw::LabelStyle style{card.classes, card.palette};
  const std::string note = options.network.untrained ? "untrained weights: the classes mean nothing" : "";
  if (image::is_image_name(options.out)) {
    image::write_image(options.out, draw::draw_overlay(picture, labels, style, note));
    answer["overlay"] = options.out.string();
    return;
  }
  const std::string stem = (options.out / name).replace_extension().string();
  const auto write = [&](const char* kind, const std::vector<std::byte>& png) {
    const std::string path = stem + "_" + kind + ".png";
    write_file(path, png);
    answer[kind] = path;
  };
  const image::Image overlay = draw::draw_overlay(picture, labels, style, note);
  write("labels", image::encode_png(labels));
  write("colors", image::encode_indexed_png(labels, card.palette));
  write("overlay", image::encode_png(overlay));
}

/// What the network says of a picture; draws it where that is asked for.
void look(const SegmentationPredict& options, const SegmentationNetwork& network,
          const SegmentationCard& card, const ParallelFor& parallel, const image::Image& picture,
          const std::filesystem::path& name, ordered_json& answer) {
  const image::Image labels =
      segmentation::predict_labels(picture, card.predict, network.network(), parallel);
  answer["classes"] = areas(labels, card);
  if (!options.out.empty()) write_pictures(options, card, picture, labels, name, answer);
}

void print_table(const ordered_json& answer) {
  fmt::print("{}\n", answer["file"].get<std::string>());
  for (const auto& entry : answer["classes"]) {
    fmt::print("  {:6.2f} %  {:5}  {}\n", 100.0 * entry["share"].get<double>(), entry["class"].get<int>(),
               entry["name"].get<std::string>());
  }
}

}  // namespace

void predict_segmentation(const SegmentationPredict& options) {
  const PictureList pictures = list_pictures(options.pictures, options.out);
  const SegmentationNetwork network = SegmentationNetwork::open(options.network);
  const SegmentationCard card =
      segmentation_card(network.architecture().num_classes, network.metadata(),
                        options.network.weights.string(), options.card, options.how);
  if (options.network.untrained) spdlog::warn("untrained weights: the classes mean nothing");
  ThreadPool pool(options.network.threads);
  const ordered_json answers = answer_pictures(
      pictures, {.apply_orientation = !options.ignore_orientation},
      [&](const image::Image& picture, const std::filesystem::path& name, ordered_json& answer) {
        look(options, network, card, pool.parallel_for(), picture, name, answer);
      });
  report_answers(answers, options.json,
                 {{"weights", options.network.weights.string()},
                  {"task", "segmentation"},
                  {"untrained", options.network.untrained},
                  {"variant", network.architecture().backbone.variant},
                  {"tta", options.how.tta}},
                 print_table);
}

}  // namespace spatialmamba::cli
