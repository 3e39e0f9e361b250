#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/detection.h"
#include "cli/inputs.h"
#include "cli/model_card.h"
#include "cli/network.h"
#include "cli/segmentation.h"
#include "cli/task.h"
#include "cli/verbs.h"
#include "draw/annotate.h"
#include "image/codec.h"
#include "metrics/classification.h"

namespace spatialmamba::cli {
namespace {

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

struct Guess {
  std::int64_t index = 0;
  std::string name;
  double probability = 0.0;
};

struct Answer {
  std::string file;
  int width = 0;
  int height = 0;
  std::vector<Guess> guesses;
  std::string annotated;  ///< the picture that was drawn, if any
  std::string error;      ///< not empty: the picture could not be read
};

std::string display_name(const std::filesystem::path& picture) {
  return picture == "-" ? "standard input" : picture.string();
}

std::vector<Guess> guess(const Network& network, const ModelCard& card, const image::Image& picture,
                         std::int64_t top) {
  const image::InputFormat& format = card.transform.format;
  const std::vector<float> input = image::eval_input(picture, card.transform);
  const std::vector<float> logits = network.logits(input, 1, {format.height, format.width});
  metrics::require_finite(logits);
  const std::vector<double> shares = metrics::softmax(logits);
  std::vector<Guess> guesses;
  for (const std::int64_t index : metrics::top_k(logits, top)) {
    const auto at = static_cast<std::size_t>(index);
    guesses.push_back({index, card.classes[at], shares[at]});
  }
  return guesses;
}

/// The file to draw to: `out` itself when it names a picture, else a file in that folder.
std::filesystem::path drawing_path(const Options& options, const std::filesystem::path& name) {
  return image::is_image_name(options.out) ? options.out : options.out / name;
}

std::string draw(const Options& options, const image::Image& picture, const Answer& answer,
                 const std::filesystem::path& name) {
  std::vector<draw::Guess> bars;
  for (const Guess& guess : answer.guesses) bars.push_back({guess.name, guess.probability});
  const std::filesystem::path path = drawing_path(options, name);
  const std::string note = options.network.untrained ? "untrained weights: these names mean nothing" : "";
  const std::string title = std::filesystem::path(answer.file).filename().string();
  image::write_image(path, draw::annotate(picture, bars, title, note));
  return path.string();
}

nlohmann::ordered_json as_json(const Answer& answer) {
  nlohmann::ordered_json json{{"file", answer.file}};
  if (!answer.error.empty()) {
    json["error"] = answer.error;
    return json;
  }
  json["width"] = answer.width;
  json["height"] = answer.height;
  json["predictions"] = nlohmann::ordered_json::array();
  for (const Guess& guess : answer.guesses) {
    json["predictions"].push_back(
        {{"class", guess.index}, {"name", guess.name}, {"probability", guess.probability}});
  }
  if (!answer.annotated.empty()) json["annotated"] = answer.annotated;
  return json;
}

void print_table(const Answer& answer) {
  fmt::print("{}\n", answer.file);
  for (const Guess& guess : answer.guesses) {
    fmt::print("  {:6.2f} %  {:5}  {}\n", 100.0 * guess.probability, guess.index, guess.name);
  }
}

nlohmann::ordered_json report(const Options& options, const Network& network, const ModelCard& card,
                              const std::vector<Answer>& answers) {
  auto images = nlohmann::ordered_json::array();
  for (const Answer& answer : answers) images.push_back(as_json(answer));
  return {{"weights", options.network.weights.string()},
          {"untrained", options.network.untrained},
          {"variant", network.architecture().variant},
          {"size", {card.transform.format.height, card.transform.format.width}},
          {"images", images}};
}

Answer answer(const Options& options, const Network& network, const ModelCard& card,
              const std::filesystem::path& file, const std::filesystem::path& name) {
  Answer answer;
  answer.file = display_name(file);
  image::Image picture;
  try {
    picture = image::read_image(
        file, {.channels = card.transform.format.channels, .apply_orientation = !options.ignore_orientation});
  } catch (const Error& error) {
    answer.error = error.what();
    return answer;
  }
  answer.width = picture.width;
  answer.height = picture.height;
  try {
    answer.guesses = guess(network, card, picture, options.top);
  } catch (const Error& error) {
    fail("{}: {}", answer.file, error.what());
  }
  if (!options.out.empty()) answer.annotated = draw(options, picture, answer, name);
  return answer;
}

void predict(const Options& options) {
  const std::vector<std::filesystem::path> files = find_pictures(options.pictures);
  const std::vector<std::filesystem::path> names = output_names(files);
  if (files.size() > 1 && image::is_image_name(options.out)) {
    fail_usage("--out {}: a folder is needed for {} pictures", options.out.string(), files.size());
  }
  const Network network = Network::open(options.network);
  const ModelCard card =
      model_card(network.architecture(), network.metadata(), options.network.weights.string(), options.card);
  if (options.network.untrained) spdlog::warn("untrained weights: the names mean nothing");
  ProgressBar progress("predict", static_cast<std::int64_t>(files.size()), "img");
  std::vector<Answer> answers;
  for (std::size_t i = 0; i < files.size(); ++i) {
    answers.push_back(answer(options, network, card, files[i], names[i]));
    progress.advance(1);
  }
  progress.clear();
  if (options.json) print_json(report(options, network, card, answers));
  std::int64_t broken = 0;
  std::string last_error;
  for (const Answer& one : answers) {
    if (one.error.empty()) {
      if (!options.json) print_table(one);
      continue;
    }
    last_error = one.error;
    ++broken;
    if (answers.size() > 1) spdlog::error("{}", one.error);
  }
  if (broken > 0 && answers.size() == 1) fail("{}", last_error);
  if (broken > 0) fail("{} of {} pictures could not be read", broken, answers.size());
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
  return [options] {
    const Task task = task_of(options->network.weights, options->network.ema, options->task);
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
