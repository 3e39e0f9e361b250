#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <chrono>
#include <memory>

#include "base/error.h"
#include "base/file.h"
#include "base/progress.h"
#include "cli/detection.h"
#include "cli/evaluation.h"
#include "cli/model_card.h"
#include "cli/network.h"
#include "cli/segmentation.h"
#include "cli/task.h"
#include "cli/verbs.h"
#include "train/evaluate.h"

namespace spatialmamba::cli {
namespace {

struct Options {
  NetworkOptions network;
  CardOptions card;
  std::string task;
  SegmentationOptions segmentation;
  DetectionOptions detection;
  std::filesystem::path results;
  std::vector<std::int64_t> limits;
  std::int64_t batch = 32;
  bool strict = false;
  std::filesystem::path data;
  std::filesystem::path out;
  bool json = false;
};

/// The data set's classes must be the network's, in the same order. Weights that do not name theirs (the
/// official ones) are taken to mean the data set's classes sorted by name, as the reference sorts its
/// folders.
data::Dataset open_matching(const Options& options, const ModelCard& card, bool names_known) {
  data::DatasetOptions wanted{.channels = card.transform.format.channels, .strict = options.strict};
  if (names_known) wanted.classes = card.classes;
  data::Dataset dataset = data::open_dataset(options.data, data::Split::validation, wanted);
  if (dataset.classes.size() != card.classes.size()) {
    fail("{}: has {} classes, but the network tells {} apart; name the network's classes with --classes",
         options.data.string(), dataset.classes.size(), card.classes.size());
  }
  for (const std::string& sentence : dataset.problems) spdlog::warn("left out: {}", sentence);
  return dataset;
}

nlohmann::ordered_json per_class(const metrics::ConfusionMatrix& confusion,
                                 const std::vector<std::string>& names) {
  auto list = nlohmann::ordered_json::array();
  const auto shares = confusion.per_class_accuracy();
  for (std::size_t i = 0; i < names.size(); ++i) {
    list.push_back({{"class", i},
                    {"name", names[i]},
                    {"images", confusion.samples(static_cast<std::int64_t>(i))},
                    {"accuracy", shares[i] ? nlohmann::ordered_json(*shares[i]) : nlohmann::ordered_json()}});
  }
  return list;
}

nlohmann::ordered_json matrix(const metrics::ConfusionMatrix& confusion) {
  auto rows = nlohmann::ordered_json::array();
  for (std::int64_t i = 0; i < confusion.classes(); ++i) {
    std::vector<std::int64_t> row;
    for (std::int64_t j = 0; j < confusion.classes(); ++j) row.push_back(confusion.count(i, j));
    rows.push_back(row);
  }
  return rows;
}

nlohmann::ordered_json as_json(const Options& options, const Network& network, const ModelCard& card,
                               const train::Evaluation& evaluation, double seconds,
                               const std::vector<std::string>& names) {
  const metrics::ClassificationMeter& meter = evaluation.meter;
  const auto images = static_cast<double>(meter.samples());
  return {{"weights", options.network.weights.string()},
          {"ema", options.network.ema},
          {"variant", network.architecture().variant},
          {"data", options.data.string()},
          {"size", {card.transform.format.height, card.transform.format.width}},
          {"images", meter.samples()},
          {"skipped", evaluation.skipped.size()},
          {"top1", meter.top1()},
          {"top5", meter.top5()},
          {"loss", evaluation.loss},
          {"seconds", seconds},
          {"images_per_second", images / seconds},
          {"per_class", per_class(meter.confusion(), names)},
          {"confusion", matrix(meter.confusion())}};
}

void print_table(const nlohmann::ordered_json& result) {
  std::size_t width = 5;
  for (const auto& row : result["per_class"])
    width = std::max(width, row["name"].get_ref<const std::string&>().size());
  fmt::print("{:{}}  {:>8}  {:>8}\n", "class", width, "images", "top-1");
  for (const auto& row : result["per_class"]) {
    const std::string share =
        row["accuracy"].is_null() ? "-" : fmt::format("{:.2f} %", 100.0 * row["accuracy"].get<double>());
    fmt::print("{:{}}  {:>8}  {:>8}\n", row["name"].get<std::string>(), width,
               row["images"].get<std::int64_t>(), share);
  }
  fmt::print("\ntop-1 {:.2f} %   top-5 {:.2f} %   loss {:.4f}   {} images in {} ({:.1f} images/s)\n",
             100.0 * result["top1"].get<double>(), 100.0 * result["top5"].get<double>(),
             result["loss"].get<double>(), result["images"].get<std::int64_t>(),
             format_duration(result["seconds"].get<double>()), result["images_per_second"].get<double>());
  if (result["skipped"].get<std::int64_t>() > 0) {
    fmt::print("{} broken pictures were left out\n", result["skipped"].get<std::int64_t>());
  }
}

train::Evaluation run(const Options& options, const Network& network, const ModelCard& card,
                      const data::Dataset& dataset, Examples& examples) {
  train::EvaluateOptions how;
  how.batch = options.batch;
  how.workers = options.network.threads;
  how.strict = options.strict;
  how.label = "eval";
  how.observe = [&](std::int64_t sample, std::span<const float> logits) { examples.observe(sample, logits); };
  const train::Forward forward = [&](data::Batch& batch) {
    for (const std::string& sentence : batch.skipped) spdlog::warn("left out: {}", sentence);
    const auto values = static_cast<std::size_t>(batch.n * batch.h * batch.w * batch.c);
    return network.logits(std::span(batch.images).first(values), batch.n, {batch.h, batch.w});
  };
  // Never stopped, so there is a result.
  return train::evaluate(forward, network.architecture().num_classes, dataset, card.transform, how).value();
}

void eval(const Options& options) {
  const Network network = Network::open(options.network);
  const ModelCard card =
      model_card(network.architecture(), network.metadata(), options.network.weights.string(), options.card);
  const bool names_known = network.metadata().contains("classes") || !options.card.classes.empty();
  const data::Dataset dataset = open_matching(options, card, names_known);
  if (!options.out.empty()) make_folder(options.out);  // fail now rather than after the work
  const auto start = std::chrono::steady_clock::now();
  Examples examples(dataset.size());
  const train::Evaluation evaluation = run(options, network, card, dataset, examples);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const nlohmann::ordered_json result = as_json(options, network, card, evaluation, seconds, dataset.classes);
  if (!options.out.empty()) {
    write_text(options.out / "eval.json", result.dump(2) + '\n');
    write_confusion(options.out, evaluation.meter.confusion(), dataset.classes);
    examples.write(options.out / "grid.png", dataset);
  }
  if (options.json) {
    print_json(result);
  } else {
    print_table(result);
  }
}

}  // namespace

Run add_eval(CLI::App& app) {
  auto options = std::make_shared<Options>();
  add_network(app, options->network);
  add_backend(app, options->network);
  add_data(app, options->data)->required();
  add_card(app, options->card);
  add_batch(app, options->batch);
  app.add_option("-o,--out", options->out, "Write eval.json and pictures there")->type_name("FOLDER");
  app.add_flag("--strict", options->strict, "Stop at the first broken picture instead of leaving it out");
  add_task(app, options->task);
  add_segmentation(app, options->segmentation);
  add_detection(app, options->detection);
  CLI::Option* results =
      app.add_option(
             "--results", options->results,
             "Instead of a network: a COCO result file, compared with the annotations that --data names")
          ->type_name("FILE");
  app.add_option("--limits", options->limits,
                 "Detections that count per picture and category (default: 1 10 100)")
      ->expected(3)
      ->check(CLI::PositiveNumber)
      ->needs(results)
      ->type_name("N");
  add_json(app, options->json);
  return [&app, options] {
    if (!options->results.empty()) {
      eval_results(
          {options->data, options->results, options->limits, options->network.threads, options->json});
      return;
    }
    const Task task = task_of(options->network.weights, options->network.ema, options->task);
    refuse_options_of_others(app, task);
    if (task == Task::detection) {
      options->detection.fit = options->segmentation.fit;
      eval_detection({options->network, options->card, options->detection, options->data, options->out,
                      options->strict, options->json});
    } else if (task == Task::segmentation) {
      eval_segmentation({options->network, options->card, options->segmentation, options->data, options->out,
                         options->strict, options->json});
    } else {
      eval(*options);
    }
  };
}

}  // namespace spatialmamba::cli
