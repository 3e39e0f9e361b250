#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <memory>

#include "base/error.h"
#include "cli/detection.h"
#include "cli/model_card.h"
#include "cli/network.h"
#include "cli/picture_answers.h"
#include "cli/segmentation.h"
#include "cli/task.h"
#include "cli/verbs.h"
#include "draw/annotate.h"
#include "image/codec.h"
#include "metrics/classification.h"

namespace spatialmamba::cli {
namespace {

using nlohmann::ordered_json;

struct Options {
  NetworkOptions network;
  CardOptions card;
  std::string task;
  SegmentationOptions segmentation;
  DetectionOptions detection;
  std::vector<std::string> pictures;
  std::filesystem::path out;
  std::int64_t top = 5;
  bool ignore_orientation = false;
  bool json = false;
};

/// The likeliest classes of a picture.
ordered_json predictions(const Network& network, const ModelCard& card, const image::Image& picture,
                         std::int64_t top) {
  const image::InputFormat& format = card.transform.format;
  const std::vector<float> input = image::eval_input(picture, card.transform);
  const std::vector<float> logits = network.logits(input, 1, {format.height, format.width});
  metrics::require_finite(logits);
  const std::vector<double> shares = metrics::softmax(logits);
  auto list = ordered_json::array();
  for (const std::int64_t index : metrics::top_k(logits, top)) {
    const auto at = static_cast<std::size_t>(index);
    list.push_back({{"class", index}, {"name", card.classes[at]}, {"probability", shares[at]}});
  }
  return list;
}

/// Draws the answer; returns the file's name.
std::string draw(const Options& options, const image::Image& picture, const std::filesystem::path& name,
                 const ordered_json& answer) {
  std::vector<draw::Guess> bars;
  for (const auto& guess : answer["predictions"]) bars.push_back({guess["name"], guess["probability"]});
  const std::filesystem::path path = image::is_image_name(options.out) ? options.out : options.out / name;
  const std::string note = options.network.untrained ? "untrained weights: these names mean nothing" : "";
  const std::string title = std::filesystem::path(answer["file"].get<std::string>()).filename().string();
  image::write_image(path, draw::annotate(picture, bars, title, note));
  return path.string();
}

/// What the network says of a picture; draws it where that is asked for.
void look(const Options& options, const Network& network, const ModelCard& card, const image::Image& picture,
          const std::filesystem::path& name, ordered_json& answer) {
  try {
    answer["predictions"] = predictions(network, card, picture, options.top);
  } catch (const Error& error) {
    fail("{}: {}", answer["file"].get<std::string>(), error.what());
  }
  if (!options.out.empty()) answer["annotated"] = draw(options, picture, name, answer);
}

void print_table(const ordered_json& answer) {
  fmt::print("{}\n", answer["file"].get<std::string>());
  for (const auto& guess : answer["predictions"]) {
    fmt::print("  {:6.2f} %  {:5}  {}\n", 100.0 * guess["probability"].get<double>(),
               guess["class"].get<int>(), guess["name"].get<std::string>());
  }
}

void predict(const Options& options) {
  const PictureList pictures = list_pictures(options.pictures, options.out);
  const Network network = Network::open(options.network);
  const ModelCard card =
      model_card(network.architecture(), network.metadata(), options.network.weights.string(), options.card);
  if (options.network.untrained) spdlog::warn("untrained weights: the names mean nothing");
  const image::InputFormat& format = card.transform.format;
  const ordered_json answers = answer_pictures(
      pictures, {.channels = format.channels, .apply_orientation = !options.ignore_orientation},
      [&](const image::Image& picture, const std::filesystem::path& name, ordered_json& answer) {
        look(options, network, card, picture, name, answer);
      });
  report_answers(answers, options.json,
                 {{"weights", options.network.weights.string()},
                  {"untrained", options.network.untrained},
                  {"variant", network.architecture().variant},
                  {"size", {format.height, format.width}}},
                 print_table);
}

}  // namespace

Run add_predict(CLI::App& app) {
  auto options = std::make_shared<Options>();
  app.add_option("PICTURE", options->pictures,
                 "Files, folders, patterns such as '*.jpg', or - for standard input")
      ->required();
  add_network(app, options->network);
  add_backend(app, options->network);
  add_card(app, options->card);
  app.add_option("--top", options->top, "How many answers per picture (default: 5)")
      ->check(above_zero())
      ->type_name("K");
  app.add_option("-o,--out", options->out, "Draw the answers: a .png or .jpg file, or a folder")
      ->type_name("PATH");
  app.add_flag("--ignore-orientation", options->ignore_orientation,
               "Take the pixels as stored, not upright as EXIF says");
  add_task(app, options->task);
  add_segmentation(app, options->segmentation);
  add_detection(app, options->detection);
  add_json(app, options->json);
  return [&app, options] {
    const Task task = task_of(options->network.weights, options->network.ema, options->task);
    refuse_options_of_others(app, task);
    if (task == Task::detection) {
      options->detection.fit = options->segmentation.fit;
      predict_detection({options->network, options->card, options->detection, options->pictures, options->out,
                         options->ignore_orientation, options->json});
    } else if (task == Task::segmentation) {
      predict_segmentation({options->network, options->card, options->segmentation, options->pictures,
                            options->out, options->ignore_orientation, options->json});
    } else {
      predict(*options);
    }
  };
}

}  // namespace spatialmamba::cli
