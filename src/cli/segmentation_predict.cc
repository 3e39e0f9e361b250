#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>

#include "base/error.h"
#include "base/progress.h"
#include "cli/inputs.h"
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
  // One drawing at a time: each is as large as the picture.
  if (image::is_image_name(options.out)) {
    image::write_image(options.out, draw::draw_overlay(picture, labels, style, note));
    answer["overlay"] = options.out.string();
    return;
  }
  const std::string stem = (options.out / name).replace_extension().string();
  const auto write = [&](const char* kind, const image::Image& content) {
    const std::string path = stem + "_" + kind + ".png";
    image::write_image(path, content);
    answer[kind] = path;
  };
  write("labels", labels);
  write("colors", draw::colored_labels(labels, style));
  write("overlay", draw::draw_overlay(picture, labels, style, note));
}

ordered_json answer(const SegmentationPredict& options, const SegmentationNetwork& network,
                    const SegmentationCard& card, const std::filesystem::path& file,
                    const std::filesystem::path& name) {
  ordered_json answer{{"file", file == "-" ? "standard input" : file.string()}};
  image::Image picture;
  try {
    picture = image::read_image(file, {.apply_orientation = !options.ignore_orientation});
  } catch (const Error& error) {
    answer["error"] = error.what();
    return answer;
  }
  answer["width"] = picture.width;
  answer["height"] = picture.height;
  const image::Image labels = segmentation::predict_labels(picture, card.predict, network.network());
  answer["classes"] = areas(labels, card);
  if (!options.out.empty()) write_pictures(options, card, picture, labels, name, answer);
  return answer;
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
  const std::vector<std::filesystem::path> files = find_pictures(options.pictures);
  const std::vector<std::filesystem::path> names = output_names(files);
  if (files.size() > 1 && image::is_image_name(options.out)) {
    fail_usage("--out {}: a folder is needed for {} pictures", options.out.string(), files.size());
  }
  const SegmentationNetwork network = SegmentationNetwork::open(options.network);
  const SegmentationCard card =
      segmentation_card(network.architecture().num_classes, network.metadata(),
                        options.network.weights.string(), options.card, options.how);
  if (options.network.untrained) spdlog::warn("untrained weights: the classes mean nothing");
  ProgressBar progress("predict", static_cast<std::int64_t>(files.size()), "img");
  auto answers = ordered_json::array();
  for (std::size_t i = 0; i < files.size(); ++i) {
    answers.push_back(answer(options, network, card, files[i], names[i]));
    progress.advance(1);
  }
  progress.clear();
  std::int64_t broken = 0;
  for (const ordered_json& one : answers) {
    if (one.contains("error")) {
      ++broken;
      if (answers.size() > 1) spdlog::error("{}", one["error"].get<std::string>());
    } else if (!options.json) {
      print_table(one);
    }
  }
  if (options.json) {
    print_json({{"weights", options.network.weights.string()},
                {"task", "segmentation"},
                {"untrained", options.network.untrained},
                {"variant", network.architecture().backbone.variant},
                {"tta", options.how.tta},
                {"images", answers}});
  }
  if (broken > 0 && answers.size() == 1) fail("{}", answers[0]["error"].get<std::string>());
  if (broken > 0) fail("{} of {} pictures could not be read", broken, answers.size());
}

}  // namespace spatialmamba::cli
